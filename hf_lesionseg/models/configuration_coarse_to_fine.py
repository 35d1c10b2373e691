"""Configuration of the coarse-to-fine network."""

from huggingface_hub.dataclasses import strict

from .configuration_resnet_segmenter import RESNET_DEPTHS, ResNetSegmenterConfig, check_choice


@strict
class CoarseToFineConfig(ResNetSegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_coarse_to_fine.CoarseToFineForSemanticSegmentation`.

    The defaults are the coarse-to-fine U-Net that L-SNet is compared with: 14,328,209 parameters in the first stage,
    24,436,369 in the second. Beside the fields below: those of
    :class:`~hf_lesionseg.models.configuration_resnet_segmenter.ResNetSegmenterConfig`, whose ``loss`` is that of both
    stages. With L-Net as the first stage (L-SNet's Table 3) it is ``LSNetConfig(recalibration="crop")``.

    Parameters
    ----------
    architecture : {"unet", "fcn"}
        Architecture of both stages.
    first_stage_depth, second_stage_depth : {10, 18, 34, 50}
        Layers of each stage's ResNet.
    decoder_widths : sequence of int, optional
        As in ``ResNetUNetConfig``, for both stages; U-Nets only.
    first_stage_threshold : float
        Pixels of greater probability are foreground in the first stage [assumed].
    margin : float
        Pixels that the crop reaches beyond the box on every side, as far as there is image.
    jitter_probability : float
        Share of the crops in training whose four margins are drawn, in whole pixels, from 0 to ``2 * margin`` each, so
        that the second stage learns to do without an exact box; 0.5 in RSTN, from which the baseline descends
        [assumed].
    """

    model_type = "coarse-to-fine"

    architecture: str = "unet"
    first_stage_depth: int = 18
    second_stage_depth: int = 34
    decoder_widths: list[int] | tuple[int, ...] | None = None
    first_stage_threshold: float | int = 0.5
    margin: float | int = 15
    jitter_probability: float | int = 0.5

    def validate_stages(self):
        check_choice("architecture", self.architecture, ("unet", "fcn"))
        for name in ("first_stage_depth", "second_stage_depth"):
            check_choice(name, getattr(self, name), RESNET_DEPTHS)

    def validate_decoder_widths(self):
        widths = self.decoder_widths
        if widths is not None and (self.architecture != "unet" or len(widths) != 5 or min(widths) < 1):
            raise ValueError(f"decoder_widths is {widths}; give a U-Net five widths of 1 or more, or null")

    def validate_crop(self):
        if not 0 < self.first_stage_threshold < 1:
            raise ValueError(f"first_stage_threshold is {self.first_stage_threshold}; it must be between 0 and 1")
        if self.margin < 0:
            raise ValueError(f"margin is {self.margin}; it must be 0 or more pixels")
        if not 0 <= self.jitter_probability <= 1:
            raise ValueError(f"jitter_probability is {self.jitter_probability}; it must be 0 to 1")
