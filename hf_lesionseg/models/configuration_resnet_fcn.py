"""Configuration of the FCN on a ResNet encoder."""

from huggingface_hub.dataclasses import strict

from .configuration_resnet_segmenter import RESNET_DEPTHS, ResNetSegmenterConfig, check_choice


@strict
class ResNetFCNConfig(ResNetSegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_resnet_fcn.ResNetFCNForSemanticSegmentation`.

    The defaults are the one-stage FCN that L-SNet is compared with. Beside the field below: those of
    :class:`~hf_lesionseg.models.configuration_resnet_segmenter.ResNetSegmenterConfig`.

    Parameters
    ----------
    depth : {10, 18, 34, 50}
        Layers of the ResNet.
    """

    model_type = "resnet-fcn"

    depth: int = 34

    def validate_depth(self):
        check_choice("depth", self.depth, RESNET_DEPTHS)
