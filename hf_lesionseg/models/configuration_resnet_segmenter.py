"""What the configurations of L-SNet and its rivals, networks on ResNet encoders, have in common."""

from huggingface_hub.dataclasses import strict

from .configuration_segmenter import SegmenterConfig, check_choice

RESNET_DEPTHS = (10, 18, 34, 50, 101)


@strict
class ResNetSegmenterConfig(SegmenterConfig):
    r"""Fields of the networks of the L-SNet paper, which segment on a ResNet encoder.

    Beside the fields below: those of :class:`~hf_lesionseg.models.configuration_segmenter.SegmenterConfig`.

    Parameters
    ----------
    num_channels : int
        Channels of ``pixel_values``; a grey slice is repeated.
    base_width : int
        Feature maps of the encoder's stem; every other width is a multiple of it. 64 in the published ResNets, which
        alone have weights to start from.
    loss : str
        As there; "focal-dice" is the paper's.
    """

    num_channels: int = 3
    loss: str = "focal-dice"


__all__ = ["RESNET_DEPTHS", "ResNetSegmenterConfig", "check_choice"]
