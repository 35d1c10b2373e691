"""Configuration of the U-Net on a ResNet encoder."""

from huggingface_hub.dataclasses import strict

from .configuration_resnet_segmenter import RESNET_DEPTHS, ResNetSegmenterConfig, check_choice


@strict
class ResNetUNetConfig(ResNetSegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_resnet_unet.ResNetUNetForSemanticSegmentation`.

    The defaults are the one-stage U-Net that L-SNet is compared with: 24,436,369 parameters; with ``depth=18`` its
    first stage of 14,328,209. Beside the fields below: those of :class:`ResNetSegmenterConfig`.

    Parameters
    ----------
    depth : {10, 18, 34, 50}
        Layers of the ResNet.
    decoder_widths : sequence of int, optional
        Feature maps of the five decoder blocks, coarsest first. By default 4, 2, 1, 1/2 and 1/4 times ``base_width``:
        256, 128, 64, 32, 16.
    """

    model_type = "resnet-unet"

    depth: int = 34
    decoder_widths: list[int] | tuple[int, ...] | None = None

    def validate_depth(self):
        check_choice("depth", self.depth, RESNET_DEPTHS)

    def validate_decoder_widths(self):
        widths = self.decoder_widths
        if widths is not None and (len(widths) != 5 or min(widths) < 1):
            raise ValueError(f"decoder_widths is {widths}; give five widths of 1 or more, or null")
