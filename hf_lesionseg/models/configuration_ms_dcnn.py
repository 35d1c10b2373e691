"""Configuration of MS-DCNN."""

from huggingface_hub.dataclasses import strict

from .configuration_segmenter import SegmenterConfig, check_choice, check_dropout

KERNEL_LAYOUTS = ("one-per-path", "both-in-each-path")


@strict
class MSDCNNConfig(SegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_ms_dcnn.MSDCNNForSemanticSegmentation`.

    The defaults are the network of Liu et al., "Multi-scale Deep Convolutional Neural Network for Stroke Lesions
    Segmentation on CT Images" (BrainLes 2018, doi:10.1007/978-3-030-11723-8_28): 37,125,889 parameters, 121
    convolutions along each path and 2 that the paths share, 123 along either. What the paper leaves open is marked
    [assumed]. Beside the fields below: those of :class:`~hf_lesionseg.models.configuration_segmenter.SegmenterConfig`.

    Parameters
    ----------
    num_channels : int
        Channels of ``pixel_values``, in the order Tmax, CBF, CBV, MTT.
    first_path_channels : int
        The first path takes so many channels, the second one those that follow: Tmax, CBF, CBV and MTT in the paper.
    num_logits : int
        1 for a sigmoid head, 2 or more for softmax. Independent of ``id2label``.
    base_width : int
        Feature maps of each path's first convolution, and of the first convolution after the paths are merged.
    growth_rate : int
        Feature maps that each dense layer adds.
    block_layers : sequence of int
        Dense layers of each block, finest first; DenseNet-121's in the paper.
    bottleneck : bool
        Begin each dense layer with a 1x1 convolution to ``4 * growth_rate`` maps. Derived from the paper's count of 123
        layers, which one 3x3 convolution for each dense layer would miss.
    compression : float, optional
        Give every transition a 1x1 convolution to this share of its feature maps, as DenseNet-BC has (0.5: 25,778,433
        parameters, 126 convolutions along either path). Without, a transition is batch norm, ReLU and pooling alone.
    up_widths : sequence of int
        Feature maps of the blocks that lead back to the image's size, coarsest first [assumed].
    kernel_sizes : sequence of int
        The two kernels of the first convolutions, odd [assumed].
    kernel_layout : {"one-per-path", "both-in-each-path"}
        How the paper's "dual parallel kernels" are read: a kernel size for each path, or both side by side at the
        beginning of each path, half of ``base_width`` each.
    dropout : float or pair of float
        After every dense layer and every transition of the first and of the second path.
    loss : str
        "linear-dice" is the paper's eq. 4, its ``smooth`` [assumed]; with ``loss_settings={"bce_weight": 1}`` plus the
        binary cross-entropy that the text mentions.
    """

    model_type = "ms-dcnn"

    num_channels: int = 4
    first_path_channels: int = 3
    growth_rate: int = 32
    block_layers: list[int] | tuple[int, ...] = (6, 12, 24, 16)
    bottleneck: bool = True
    compression: float | int | None = None
    up_widths: list[int] | tuple[int, ...] = (256, 128, 64, 64)
    kernel_sizes: list[int] | tuple[int, ...] = (7, 3)
    kernel_layout: str = "one-per-path"
    dropout: float | int | list[float | int] | tuple[float | int, ...] = (0.01, 0.5)
    loss: str = "linear-dice"

    @property
    def stride(self):
        """Height and width are padded to this multiple inside the network."""
        return 2 ** len(self.block_layers)

    @property
    def path_dropout(self):
        """Dropout of the first and of the second path."""
        return tuple(self.dropout) if isinstance(self.dropout, (list, tuple)) else (self.dropout, self.dropout)

    def validate_paths(self):
        if self.growth_rate < 1:
            raise ValueError(f"growth_rate is {self.growth_rate}; it must be 1 or more")
        if not 1 <= self.first_path_channels < self.num_channels:
            raise ValueError(
                f"first_path_channels is {self.first_path_channels} of num_channels {self.num_channels}; each of the "
                "two paths needs one channel or more"
            )

    def validate_blocks(self):
        if not self.block_layers or min(self.block_layers) < 1:
            raise ValueError(f"block_layers is {self.block_layers}; give one or more blocks of 1 layer or more")
        if len(self.up_widths) != len(self.block_layers) or min(self.up_widths) < 1:
            raise ValueError(
                f"up_widths is {self.up_widths}; give a width of 1 or more for each of the {len(self.block_layers)} "
                "entries of block_layers"
            )
        if self.compression is not None and not 0 < self.compression <= 1:
            raise ValueError(f"compression is {self.compression}; it must be above 0 and at most 1, or null")

    def validate_kernels(self):
        if len(self.kernel_sizes) != 2 or any(size < 1 or size % 2 == 0 for size in self.kernel_sizes):
            raise ValueError(f"kernel_sizes is {self.kernel_sizes}; give two odd sizes, such as 7 and 3")
        check_choice("kernel_layout", self.kernel_layout, KERNEL_LAYOUTS)
        if self.kernel_layout == "both-in-each-path" and self.base_width < 2:
            raise ValueError(f"base_width is {self.base_width}; two kernels in each path need 2 or more")

    def validate_dropout(self):
        if len(self.path_dropout) != 2:
            raise ValueError(f"dropout is {self.dropout}; give one share, or one for each of the two paths")
        for share in self.path_dropout:
            check_dropout(share)
