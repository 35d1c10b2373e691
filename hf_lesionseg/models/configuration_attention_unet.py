"""Configuration of the Attention U-Net on a ResNet encoder."""

from huggingface_hub.dataclasses import strict

from .configuration_resnet_unet import ResNetUNetConfig


@strict
class AttentionUNetConfig(ResNetUNetConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_attention_unet.AttentionUNetForSemanticSegmentation`.

    Fields and defaults are those of :class:`~hf_lesionseg.models.configuration_resnet_unet.ResNetUNetConfig`.
    """

    model_type = "attention-unet"
