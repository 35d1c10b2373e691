"""Configuration of EGS-Net."""

from huggingface_hub.dataclasses import strict

from .configuration_segmenter import SegmenterConfig, check_choice

FRAMES = tuple(f"ctp_{number:02d}" for number in range(11))
MAPS = ("cbf", "cbv", "mtt", "tmax", "pwimax_o", "pwimax_p")
PERCEPTUAL = ("twin", "shared", "frozen", "none")
NORMALIZATIONS = ("switch", "batch")


@strict
class EGSNetConfig(SegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_egs_net.EGSNetForSemanticSegmentation`.

    The defaults are the network of Song and Huang, "Integrated Extractor, Generator and Segmentor for Ischemic Stroke
    Lesion Segmentation" (BrainLes 2018, doi:10.1007/978-3-030-11723-8_31): extractor 7,762,401 parameters, generator
    31,034,049, segmentor 31,263,782, and 1,568,000 in each of two perceptual networks that serve training alone. What
    the paper leaves open is marked [assumed]. Beside the fields below: those of
    :class:`~hf_lesionseg.models.configuration_segmenter.SegmenterConfig`.

    Parameters
    ----------
    num_channels : int
        Channels of ``pixel_values``.
    num_logits : int
        2 or more for softmax, 1 for a sigmoid head. Independent of ``id2label``.
    channel_names : sequence of str
        Name of each channel of ``pixel_values``; as many as ``num_channels``.
    extractor_channels : sequence of str
        The channels that the extractor takes: frames of the perfusion series between arrival and first pass.
    map_channels : sequence of str
        The channels that the generator takes beside the extractor's map; the segmentor, where there is no generator.
    base_width : int
        Feature maps of the first level of generator and segmentor; half as many in the extractor.
    extractor, generator : bool
        Without the extractor the next stage has the maps alone; without the generator the segmentor takes its place.
    squeeze_excitation : bool
        After each double convolution of the segmentor.
    se_reduction : int
        Reduction in squeeze-and-excitation [assumed].
    normalization : {"switch", "batch"}
        After each convolution of the segmentor.
    input_norm : bool
        Batch norm without parameters before the first convolution of extractor, generator and segmentor.
    perceptual : {"twin", "shared", "frozen", "none"}
        The networks whose features of generated and of true DWI are drawn together: "twin" are the paper's two, each
        trained; "shared" one for both, trained; "frozen" one for both that stays as it was initialised.
    perceptual_widths : sequence of int
        Feature maps of their convolutions of stride 2 [assumed].
    dwi_loss : bool
        Train the generator on a true DWI, by its image and by its features. Without, the segmentor's loss alone reaches
        it.
    loss : str
        Loss of the segmentor. "generalized-dice-ce" is the paper's, "bce" its cross-entropy alone.
    heat_map : bool
        Weigh the pixels of the generated image, and of the segmentor's cross-entropy in these two losses, by their
        signed distance to the lesion.
    heat_map_peak, heat_map_decay : float
        The weight is ``1 + heat_map_peak`` in the lesion and falls outside over so many pixels [assumed].
    extraction_weight, dwi_weight, feature_weight, segmentation_weight : float
        The paper's lambda 1 to 4. The second weighs a 2-norm over slices of 256 x 256 pixels; over N x N the same
        error has the same weight at ``0.002 * 256 / N``.
    extraction_balanced : bool
        Mean absolute error of the lesion and that of the background, half each. The paper's, over all pixels alike, is
        least for an empty map wherever a lesion is less likely than not.
    """

    model_type = "egs-net"

    num_channels: int = 17
    num_logits: int = 2
    channel_names: list[str] | tuple[str, ...] = FRAMES + MAPS
    extractor_channels: list[str] | tuple[str, ...] = FRAMES
    map_channels: list[str] | tuple[str, ...] = MAPS
    extractor: bool = True
    generator: bool = True
    squeeze_excitation: bool = True
    se_reduction: int = 16
    normalization: str = "switch"
    input_norm: bool = True
    perceptual: str = "twin"
    perceptual_widths: list[int] | tuple[int, ...] = (32, 64, 128, 256, 512)
    dwi_loss: bool = True
    loss: str = "generalized-dice-ce"
    heat_map: bool = True
    heat_map_peak: float | int = 4.0
    heat_map_decay: float | int = 8.0
    extraction_weight: float | int = 1.0
    dwi_weight: float | int = 0.002
    feature_weight: float | int = 1.2
    segmentation_weight: float | int = 1.0
    extraction_balanced: bool = False

    #: Height and width are padded to this multiple inside the network.
    stride = 16

    @property
    def needs_dwi(self):
        """Whether training takes a true DWI beside ``pixel_values``."""
        return self.generator and self.dwi_loss

    @property
    def compares_features(self):
        """Whether there are perceptual networks."""
        return self.needs_dwi and self.perceptual != "none"

    @property
    def target_channels(self):
        """Images that training learns from beside ``labels``, by the names of their arguments of ``forward``."""
        return ("dwi",) if self.needs_dwi else ()

    def settings_without_targets(self):
        """What to train, by settings to change, if the data have no targets: extractor + segmentor."""
        return {"generator": False}

    def channels_of(self, names):
        """Positions in ``pixel_values`` of the named channels."""
        return [list(self.channel_names).index(name) for name in names]

    def describe_training(self):
        """What the stages are trained on, in one sentence: for logs and model cards."""
        stages = " + ".join((*["extractor"] * self.extractor, *["generator"] * self.generator, "segmentor"))
        if self.needs_dwi:
            return f"{stages}, the generator on true DWI"
        reason = "the segmentation loss alone reaches the generator" if self.generator else "there is no generator"
        return f"{stages} WITHOUT true DWI: {reason}"

    def validate_channels(self):
        names = self.channel_names
        if len(names) != self.num_channels or len(set(names)) != len(names):
            raise ValueError(
                f"num_channels is {self.num_channels}, channel_names has {len(names)} entries; give each channel of "
                "pixel_values a name of its own (a true DWI for training is not among them: it is passed separately)"
            )
        for field, used in (("extractor_channels", self.extractor), ("map_channels", True)):
            chosen = getattr(self, field)
            unknown = [name for name in chosen if name not in names]
            if used and (unknown or not chosen or len(set(chosen)) != len(chosen)):
                raise ValueError(
                    f"{field} is {tuple(chosen)}; choose one or more of channel_names {tuple(names)}, each once"
                )

    def validate_stages(self):
        if self.base_width < 2:
            raise ValueError(f"base_width is {self.base_width}; it must be 2 or more, as the extractor has half of it")
        if self.se_reduction < 1:
            raise ValueError(f"se_reduction is {self.se_reduction}; it must be 1 or more")
        if not self.perceptual_widths or min(self.perceptual_widths) < 1:
            raise ValueError(f"perceptual_widths is {self.perceptual_widths}; give one or more widths of 1 or more")

    def validate_choices(self):
        check_choice("perceptual", self.perceptual, PERCEPTUAL)
        check_choice("normalization", self.normalization, NORMALIZATIONS)

    def validate_weights(self):
        if not 0 < self.heat_map_decay < float("inf"):
            raise ValueError(f"heat_map_decay is {self.heat_map_decay}; it must be above 0")
        weights = ("extraction_weight", "dwi_weight", "feature_weight", "segmentation_weight")
        for name in ("heat_map_peak", *weights):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
