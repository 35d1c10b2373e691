"""Configuration of CLCI-Net."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class CLCINetConfig(PreTrainedConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_clci_net.CLCINetForSemanticSegmentation`.

    The defaults are the network of Yang et al., "CLCI-Net: Cross-Level Fusion and Context Inference Networks for Lesion
    Segmentation of Chronic Stroke" (MICCAI 2019, arXiv:1907.07008): 36,813,025 trainable parameters.

    Parameters
    ----------
    num_channels : int
        Channels of ``pixel_values``.
    num_logits : int
        1 for a sigmoid head, 2 or more for softmax. Independent of ``id2label``.
    base_width : int
        Feature maps of the first level; every other width is a multiple of it. 32 in the paper.
    clf : bool
        Cross-level fusion in the encoder and in the pyramid (Table 2, "CLF").
    aspp : bool
        Atrous spatial pyramid pooling between encoder and decoder (Table 2, "ASPP").
    context_inference : bool
        ConvLSTM decoder over [upsampled, skip] (Table 2, "Inf"); without it the two are concatenated.
    aspp_dilations : sequence of int
        Dilation of each 3x3 branch of the pyramid.
    dropout : float
        After the bottleneck and after the pyramid.
    gate_activation : {"hard_sigmoid", "sigmoid"}
        Activation of the ConvLSTM gates. "hard_sigmoid" is Keras 2's clip(0.2 x + 0.5, 0, 1), which the authors'
        network uses; not torch's ``hardsigmoid``.
    batch_norm_eps, batch_norm_momentum : float
        Keras' defaults in torch's convention: eps 1e-3, momentum 0.01.
    dice_smooth : float
        Smoothing term of the batch Dice loss.
    """

    model_type = "clci-net"

    num_channels: int = 1
    num_logits: int = 1
    base_width: int = 32
    clf: bool = True
    aspp: bool = True
    context_inference: bool = True
    aspp_dilations: list[int] | tuple[int, ...] = (2, 4, 6)
    dropout: float | int = 0.5
    gate_activation: str = "hard_sigmoid"
    batch_norm_eps: float = 1e-3
    batch_norm_momentum: float = 0.01
    dice_smooth: float | int = 1.0

    #: Height and width are padded to this multiple inside the network.
    stride = 16

    def __post_init__(self, **kwargs):
        if self.id2label is None and "num_labels" not in kwargs:
            self.id2label = {0: "background", 1: "lesion"}
            self.label2id = {"background": 0, "lesion": 1}
        super().__post_init__(**kwargs)

    def validate_widths(self):
        for name in ("num_channels", "num_logits", "base_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")

    def validate_aspp_dilations(self):
        if not self.aspp_dilations or min(self.aspp_dilations) < 1:
            raise ValueError(f"aspp_dilations is {self.aspp_dilations}; give one or more dilations of 1 or more")

    def validate_dropout(self):
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; it must be at least 0 and below 1")

    def validate_gate_activation(self):
        if self.gate_activation not in ("hard_sigmoid", "sigmoid"):
            raise ValueError(f"gate_activation is {self.gate_activation!r}; use 'hard_sigmoid' or 'sigmoid'")
