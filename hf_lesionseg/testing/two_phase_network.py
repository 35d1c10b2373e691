"""A network of two parts that is trained in the phases "a" and "b"; run as a script it trains, as scripts/train.py.

"b" goes through both parts and passes a tenth of its gradient on to the first. At inference the first part says to look
everywhere: one box as large as the slice.
"""

import sys
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, dropout
from transformers import PreTrainedConfig, PreTrainedModel

from hf_lesionseg.auto import register_network
from hf_lesionseg.models import Network
from hf_lesionseg.models.outputs import LesionSegmenterOutput


@dataclass
class TwoPartOutput(LesionSegmenterOutput):
    boxes: torch.FloatTensor | None = None
    box_indices: torch.LongTensor | None = None
    scores: torch.FloatTensor | None = None


class TwoPartConfig(PreTrainedConfig):
    model_type = "two-part"
    num_channels: int = 1
    dropout: float | int = 0.0


class TwoPartForSemanticSegmentation(PreTrainedModel):
    config: TwoPartConfig
    main_input_name = "pixel_values"
    training_phases = ("a", "b")

    def __init__(self, config):
        super().__init__(config)
        self.first = nn.Conv2d(config.num_channels, 1, 3, padding=1)
        self.second = nn.Conv2d(config.num_channels + 1, 1, 3, padding=1)
        self.asked = []
        self.post_init()

    def forward(self, pixel_values, labels=None, phase=None, **kwargs):
        if self.training:
            self.asked.append(phase)
        seen = dropout(pixel_values, self.config.dropout, self.training)
        hint = self.first(seen)
        logits = None
        if phase != "a":
            passed_on = 0.1 * hint + 0.9 * hint.detach()
            logits = self.second(torch.cat([seen, passed_on], dim=1))
        loss = None
        if labels is not None:
            parts = {"a": hint, "b": logits} if phase is None else {phase: hint if phase == "a" else logits}
            loss = sum(binary_cross_entropy_with_logits(part[:, 0], labels.to(part.dtype)) for part in parts.values())
        count, (height, width) = len(pixel_values), pixel_values.shape[-2:]
        boxes = torch.tensor([[0.0, 0.0, width, height]]).repeat(count, 1)
        if logits is not None and phase is not None:
            logits = logits.detach()
        return TwoPartOutput(loss, logits, None, boxes, torch.arange(count), torch.ones(count))


#: Its entry: a network that lies in none of the package's own modules.
NETWORK = Network(
    "two-part",
    "TwoPartConfig",
    "TwoPartForSemanticSegmentation",
    modules=("hf_lesionseg.testing.two_phase_network", "hf_lesionseg.testing.two_phase_network"),
)

if __name__ == "__main__":
    from hf_lesionseg.cli.train import main

    register_network(NETWORK)
    sys.exit(main())
