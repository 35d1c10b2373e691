"""Run by test_ensemble_push.py in a fresh process: save an ensemble with ``push_to_hub`` and push it by its method.

Prints, as JSON, the logits of the ensemble and those of what the Hub gives back.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForSemanticSegmentation

import hf_lesionseg  # noqa: F401
from hf_lesionseg import CLCINetConfig, CLCINetForSemanticSegmentation
from hf_lesionseg.models.configuration_fold_ensemble import FoldEnsembleConfig
from hf_lesionseg.models.modeling_fold_ensemble import FoldEnsembleForSemanticSegmentation

folder, saved, pushed = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
members = []
for seed in range(2):
    torch.manual_seed(seed)
    members.append(CLCINetForSemanticSegmentation(CLCINetConfig(base_width=2)).eval())
names = ["fold-0", "fold-1"]
config = FoldEnsembleConfig(members=names, member_type="clci-net", num_channels=1)
ensemble = FoldEnsembleForSemanticSegmentation(config, members).eval()
slices = torch.rand(1, 1, 16, 16)


def logits(model):
    with torch.inference_mode():
        return model(pixel_values=slices).logits.flatten().tolist()


(folder / "checkpoints").mkdir(parents=True)
(folder / "scan.nii.gz").write_bytes(b"of a patient")
(folder / "checkpoints" / "model.safetensors").write_bytes(b"not for the Hub")
ensemble.save_pretrained(folder, push_to_hub=True, repo_id=saved, commit_message="The first")
with torch.no_grad():
    for member in members:
        member.head.bias += 1.0
ensemble.save_pretrained(folder, push_to_hub=True, repo_id=saved)  # the folders are there: only weights change
ensemble.push_to_hub(pushed)
again = {name: logits(AutoModelForSemanticSegmentation.from_pretrained(name).eval()) for name in (saved, pushed)}
print(json.dumps({"own": logits(ensemble), **again}))
