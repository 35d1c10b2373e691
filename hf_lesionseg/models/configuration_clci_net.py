"""Configuration of CLCI-Net."""

from huggingface_hub.dataclasses import strict

from .configuration_segmenter import SegmenterConfig, check_choice, check_dropout


@strict
class CLCINetConfig(SegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_clci_net.CLCINetForSemanticSegmentation`.

    The defaults are the network of Yang et al., "CLCI-Net: Cross-Level Fusion and Context Inference Networks for Lesion
    Segmentation of Chronic Stroke" (MICCAI 2019, arXiv:1907.07008): 36,813,025 trainable parameters.

    Beside the fields below: those of :class:`~hf_lesionseg.models.configuration_segmenter.SegmenterConfig`,
    whose default loss, the Dice loss of the batch, is the paper's.

    Parameters
    ----------
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
    """

    model_type = "clci-net"

    base_width: int = 32
    clf: bool = True
    aspp: bool = True
    context_inference: bool = True
    aspp_dilations: list[int] | tuple[int, ...] = (2, 4, 6)
    dropout: float | int = 0.5
    gate_activation: str = "hard_sigmoid"
    batch_norm_eps: float = 1e-3
    batch_norm_momentum: float = 0.01

    #: Height and width are padded to this multiple inside the network.
    stride = 16

    def validate_aspp_dilations(self):
        if not self.aspp_dilations or min(self.aspp_dilations) < 1:
            raise ValueError(f"aspp_dilations is {self.aspp_dilations}; give one or more dilations of 1 or more")

    def validate_dropout(self):
        check_dropout(self.dropout)

    def validate_gate_activation(self):
        check_choice("gate_activation", self.gate_activation, ("hard_sigmoid", "sigmoid"))
