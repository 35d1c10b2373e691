"""Configuration of L-SNet."""

from huggingface_hub.dataclasses import strict

from .configuration_resnet_segmenter import RESNET_DEPTHS, ResNetSegmenterConfig, check_choice


@strict
class LSNetConfig(ResNetSegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_l_snet.LSNetForSemanticSegmentation`.

    The defaults are the network of Xie et al., "L-SNet: from Region Localization to Scale Invariant Medical Image
    Segmentation" (ICIP 2021, arXiv:2102.05971), in its U-Net form: 14,502,853 parameters in L-Net, which finds regions,
    and 24,436,369 in S-Net, which segments them. What the paper leaves open is marked [assumed]. Beside the fields
    below: those of :class:`~hf_lesionseg.models.configuration_resnet_segmenter.ResNetSegmenterConfig`, of which
    ``loss`` is that of the heat map (eq. 5, where the DIoU loss of the boxes is added to it) and of the masks (eq. 6).

    Parameters
    ----------
    architecture : {"unet", "fcn"}
        Decoders of both networks.
    locator_depth, segmenter_depth : {10, 18, 34, 50, 101}
        Layers of the ResNets of L-Net and S-Net.
    margin : float
        Pixels that a region is wider than its box on every side when S-Net sees it.
    recalibration : {"differentiable", "crop"}
        Sample regions where the box says, with gradients to it, or cut whole pixels without any: the ablation without
        recalibration (Table 2), and L-Net as the first stage of a coarse-to-fine network (Table 3).
    gradient_decay : float
        Factor of S-Net's gradient as it enters L-Net through the box: 0, 0.01, 0.1 or 1 in Table 4, whose best row,
        0.1, equals the headline figure.
    heatmap_sigma : float
        Standard deviation of a centre's peak in cells of 4 pixels [assumed].
    relative_sigma : float, optional
        Take this share of the box's width and height instead, about 0.1, but no less than 3/4 of a cell, so that every
        box has a cell that learns it [assumed].
    heatmap_prior : float
        Probability of a centre that the untrained heat map shows everywhere [assumed].
    minimum_component_pixels : int
        Connected components of the truth smaller than this have no box of their own [assumed].
    heatmap_focal : {"soft", "penalty-reduced"}
        Focal part of the heat map's loss "focal-dice": that of the masks, for targets between 0 and 1, or CornerNet's,
        in which a box's centre cell alone counts as one and cells near it as less of a zero [assumed].
    positive_threshold : float
        Cells whose target is above it learn the box.
    positive_cells : {"all", "inside"}
        Which of them: all, as the text says, or those whose point lies inside the box. Of a box that is narrower than
        its centre's peak the others learn distances that they cannot reach, since distances are positive; but a box
        of less than a cell may have no point inside [assumed].
    fcn_lateral_stride : {4, 8}
        Finest map of the encoder that L-Net adds in its "fcn" form: of the heat map's own stride, or of stride 8 as in
        an FCN-8s, whose sum is then brought to stride 4 bilinearly [assumed].
    distance_activation : {"softplus", "exp"}
        What makes distances positive [assumed]; they are its value times the stride.
    candidate_cells : int
        Training draws each image's region among this many cells of greatest heat.
    heatmap_threshold : float
        Regions are the connected components of the heat map above it.
    keypoint : {"centre", "cell", "rounded"}
        Where a region's distances are read and begin: at the centre of its component, interpolated between cells; at
        the cell nearest to it; or, as the text can also be read, read at this cell but put around the centre. The last
        moves every box by up to 2 pixels: with exact heat map and distances, boxes of 20 x 14 pixels then have a mean
        IoU of 0.80 instead of 1 [assumed].
    overlap : {"max", "mean"}
        What counts where regions overlap: the greatest of their probabilities, or their mean [assumed].
    no_region : {"empty", "best-cell"}
        An image whose heat map stays below the threshold has an empty mask, or the region of its greatest cell
        [assumed].
    regions_per_pass : int
        Most regions that S-Net segments and the image takes up at once when it is not training; bounds memory, changes
        nothing else.
    """

    model_type = "l-snet"

    architecture: str = "unet"
    locator_depth: int = 18
    segmenter_depth: int = 34
    margin: float | int = 15
    recalibration: str = "differentiable"
    gradient_decay: float | int = 0.1
    heatmap_sigma: float | int = 2.0
    relative_sigma: float | int | None = None
    heatmap_prior: float = 0.1
    minimum_component_pixels: int = 10
    heatmap_focal: str = "soft"
    positive_threshold: float | int = 0.5
    positive_cells: str = "all"
    fcn_lateral_stride: int = 4
    distance_activation: str = "softplus"
    candidate_cells: int = 3
    heatmap_threshold: float | int = 0.5
    keypoint: str = "centre"
    overlap: str = "max"
    no_region: str = "empty"
    regions_per_pass: int = 16

    def validate_choices(self):
        check_choice("architecture", self.architecture, ("unet", "fcn"))
        for name in ("locator_depth", "segmenter_depth"):
            check_choice(name, getattr(self, name), RESNET_DEPTHS)
        check_choice("recalibration", self.recalibration, ("differentiable", "crop"))
        check_choice("heatmap_focal", self.heatmap_focal, ("soft", "penalty-reduced"))
        if self.heatmap_focal != "soft" and self.loss != "focal-dice":
            raise ValueError(f"heatmap_focal is {self.heatmap_focal!r}, but the loss {self.loss!r} has no focal part")
        check_choice("positive_cells", self.positive_cells, ("all", "inside"))
        check_choice("fcn_lateral_stride", self.fcn_lateral_stride, (4, 8))
        check_choice("overlap", self.overlap, ("max", "mean"))
        check_choice("distance_activation", self.distance_activation, ("softplus", "exp"))
        check_choice("keypoint", self.keypoint, ("centre", "cell", "rounded"))
        check_choice("no_region", self.no_region, ("empty", "best-cell"))

    def validate_numbers(self):
        for name in ("margin", "gradient_decay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")
        for name in ("heatmap_sigma", "relative_sigma"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} is {value}; it must be above 0")
        for name in ("minimum_component_pixels", "candidate_cells", "regions_per_pass"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if not 0 < self.heatmap_prior < 1:
            raise ValueError(f"heatmap_prior is {self.heatmap_prior}; it must be between 0 and 1")
        for name in ("positive_threshold", "heatmap_threshold"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
