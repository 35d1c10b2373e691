"""Scans in, slices for the network out, and masks back on the grid of the scan."""

from typing import TypedDict

import numpy as np
import torch
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature

from .case_slices import slice_case, slice_labels
from .intensity import modality_settings
from .label_values import check_probabilities
from .mask_options import MASK_DEFAULTS, MaskOptions, MaskSettings, make_mask
from .outputs import lesion_probability
from .processor_settings import check_settings
from .slice_planes import restore_planes
from .slice_stack import stack_slices, stacked_channels
from .volume_geometry import SliceGeometry, VolumeError

#: what transformers and the Hub keep in preprocessor_config.json beside the settings
_SERVICE_KEYS = (
    "image_processor_type",
    "processor_class",
    "feature_extractor_type",
    "auto_map",
    "transformers_version",
)


class _SliceSettings(TypedDict, total=False):
    channel_names: tuple[str, ...]
    slice_axis: str
    training_spacing: tuple[float, float] | None
    size: dict[str, int] | None
    resize: bool
    training_plane: tuple[int, int] | None
    crop_offset: tuple[int, int] | None
    normalization: str | dict[str, str]
    percentiles: tuple[float, float]
    intensity_range: tuple[float, float]
    slice_stack: str


class LesionImageProcessorKwargs(_SliceSettings, MaskSettings, total=False):
    """Settings of :class:`LesionImageProcessor`, as they stand in ``preprocessor_config.json``."""


class LesionImageProcessor(BaseImageProcessor):
    """Turn scans into ``pixel_values`` slices, and logits back into masks on the grid of the scan.

    Scans are reoriented to RAS+ (no resampling), cut into planes, resampled in-plane where ``training_spacing`` asks
    for it, cropped or padded and normalised. The settings of the base class (``rescale_factor`` and the like) are for
    photographs; they are neither used nor saved.

    Parameters
    ----------
    channel_names : sequence of str, default ("t1w",)
        Images of a case in the order of ``pixel_values``.
    slice_axis : {"axial", "coronal", "sagittal"}
    training_spacing : (row, column) in mm, optional
        Resample planes to this pixel size; those within 5 % of it, in rows and columns, stay as they are.
    size : {"height": int, "width": int}, optional
        Window cut from every plane: centred on the tissue, and widened to multiples of 16 rather than cutting tissue.
        Without it planes stay whole; the networks take any size.
    resize : bool, default False
        Whole planes are resampled to ``size``, whatever their pixel size, instead of cut; with a warning where that
        stretches them by more than 5 %.
    training_plane, crop_offset : (rows, columns) and (row, column), optional
        Where a plane has exactly this shape, the window begins exactly there: the training data's own crop.
    normalization : {"percentile", "fixed-range", "window", "z-score", "none"}
        To [0, 1] between ``percentiles`` of the non-zero voxels; to [0, 1] between the ends of ``intensity_range``,
        or by percentiles with a warning where a scan is plainly not on that range; clipped to ``intensity_range`` and
        to [0, 1] whatever the scan holds (CT, in HU); to mean 0 and standard deviation 1 of the non-zero voxels; or
        not at all. Channels of several kinds take a dict, whose keys are their names or patterns of them, each channel
        matched by one: ``{"ctp_*": "window", "cbf": "z-score"}``. Default: "percentile", but "window" for channels that
        are named as CT. A constant outside the field of view (-1024, -2000, -3024 of CT) never counts as tissue.
    percentiles : (low, high), default (0.5, 99.5)
    intensity_range : (low, high), default (0, 100), and (-100, 240) where CT is cut to a window by default
    slice_stack : {"single", "repeat", "neighbours"}
        Each slice by itself; three times (encoders of colour images); or the slice below, itself and the one above.
    **mask
        The options of :class:`~hf_lesionseg.models.mask_options.MaskOptions`: threshold, minimum_lesion_ml,
        keep_largest, median_filter.

    Raises
    ------
    ValueError
        For an unknown setting or an impossible value; names the field and what it may be.

    Examples
    --------
    >>> import numpy as np
    >>> scan = np.random.default_rng(0).uniform(1, 100, (20, 24, 3)).astype("float32")
    >>> batch = LesionImageProcessor()(scan, return_tensors="pt")
    >>> batch["pixel_values"].shape
    torch.Size([3, 1, 24, 20])
    """

    valid_kwargs = LesionImageProcessorKwargs
    model_input_names = ["pixel_values"]

    channel_names = ("t1w",)
    slice_axis = "axial"
    training_spacing = None
    size = None
    resize = False
    training_plane = None
    crop_offset = None
    normalization = "percentile"
    percentiles = (0.5, 99.5)
    intensity_range = (0.0, 100.0)
    slice_stack = "single"

    def __init__(self, **kwargs):
        super().__init__()
        service = {key: kwargs.pop(key) for key in _SERVICE_KEYS if key in kwargs}
        slicing = {name: getattr(type(self), name) for name in _SliceSettings.__annotations__}
        defaults = {**slicing, **MASK_DEFAULTS}
        if "normalization" not in kwargs and "intensity_range" not in kwargs:
            defaults |= modality_settings(kwargs.get("channel_names", self.channel_names))
        for name, value in check_settings(kwargs, defaults).items():
            setattr(self, name, value)
        if service.get("auto_map") is not None:
            self.auto_map = service["auto_map"]

    @classmethod
    def clci_net_recipe(cls, **overrides):
        """Settings of CLCI-Net on ATLAS: axial slices of 233 x 197, rows [5:229], columns [11:187], 0..100 to [0, 1].

        Scans of another voxel size are brought to the 1 mm of ATLAS in-plane. Source: papers' public re-runs (crop of
        SPiN, division by 100 of the ATLAS h5 generator).
        """
        recipe = {
            "slice_axis": "axial",
            "training_spacing": (1.0, 1.0),
            "training_plane": (233, 197),
            "crop_offset": (5, 11),
            "size": {"height": 224, "width": 176},
            "normalization": "fixed-range",
            "intensity_range": (0.0, 100.0),
        }
        return cls(**{**recipe, **overrides})

    def settings(self):
        """Return all settings by name."""
        return {name: getattr(self, name) for name in self.valid_kwargs.__annotations__}

    @property
    def num_channels(self):
        """Channels of ``pixel_values``: the images, times the slices of a stack."""
        return stacked_channels(len(self.channel_names), self.slice_stack)

    def to_dict(self):
        """Return what is saved: the settings, and what the Hub needs to find this class."""
        service = {"auto_map": self.auto_map} if getattr(self, "auto_map", None) is not None else {}
        return {**self.settings(), "image_processor_type": type(self).__name__, **service}

    def __call__(self, images, segmentation_maps=None, **kwargs):
        """See :meth:`preprocess`."""
        return self.preprocess(images, segmentation_maps, **kwargs)

    def preprocess(self, images, segmentation_maps=None, affine=None, return_tensors=None, **overrides):
        """Turn cases into slices.

        Parameters
        ----------
        images : case or list of cases
            A case is a path, a nibabel image or an array (X, Y, Z); with several channels, a dict from channel name
            to one of these. All channels of a case lie on one grid.
        segmentation_maps : map or list of maps, optional
            One per case, path, image or array; lesion where > 0. Several labels count as one, with a warning.
        affine : array_like of shape (4, 4) or (cases, 4, 4), optional
            Affine of cases that are arrays; the identity by default.
        return_tensors : "pt" or "np", optional
        **overrides
            Settings for this call.

        Returns
        -------
        BatchFeature
            ``pixel_values`` float32 (total slices, num_channels, height, width); ``labels`` int64 (total slices,
            height, width) if maps were given; ``geometry``, a list of :class:`SliceGeometry`, one per case.

        Raises
        ------
        VolumeError
            For a scan that cannot be used, a missing channel, different grids within a case, cases that give slices
            of different sizes, an image or probabilities in the place of a segmentation map.
        """
        if overrides:
            processor = type(self)(**{**self.settings(), **overrides})
            return processor.preprocess(images, segmentation_maps, affine, return_tensors)
        cases = list(images) if isinstance(images, list | tuple) else [images]
        if not cases:
            raise VolumeError("no case given: pass at least one scan")
        maps = _one_per_case(segmentation_maps, len(cases), "segmentation_maps")
        affines = _affines(affine, len(cases))

        pixel_values, labels, geometries = [], [], []
        for index, (case, lesion_map, case_affine) in enumerate(zip(cases, maps, affines, strict=True)):
            values, geometry = slice_case(case, case_affine, f"case {index}" if len(cases) > 1 else "scan", self)
            values = stack_slices(values, self.slice_stack)
            if geometries and values.shape[2:] != pixel_values[0].shape[2:]:
                raise VolumeError(
                    f"case {index} gives slices of {values.shape[2:]}, case 0 of {pixel_values[0].shape[2:]}: process "
                    "cases of different size one per call"
                )
            pixel_values.append(values)
            geometries.append(geometry)
            if lesion_map is not None:
                labels.append(slice_labels(lesion_map, geometry, f"segmentation map {index}"))
        data = {"pixel_values": _joined(pixel_values)}
        if return_tensors == "pt":
            data["pixel_values"] = np.ascontiguousarray(data["pixel_values"])  # torch takes no repeated view
        if labels:
            data["labels"] = _joined(labels)
        batch = BatchFeature(data, tensor_type=return_tensors)
        batch["geometry"] = geometries
        return batch

    def post_process_segmentation(self, outputs, geometry, return_probability=False, **mask):
        """Turn logits into masks on the grids of the scans.

        Parameters
        ----------
        outputs : ModelOutput with ``logits``, or torch.Tensor of shape (total slices, num_logits, height, width)
        geometry : SliceGeometry or list of SliceGeometry
            From :meth:`preprocess`, in the same order.
        return_probability : bool, default False
        **mask
            Options of :class:`~hf_lesionseg.models.mask_options.MaskOptions` instead of the settings, by name.

        Returns
        -------
        list of dict
            Per case ``mask`` uint8, and ``probability`` float32 if asked for, both on the file grid.

        Raises
        ------
        ValueError
            If the slices are not those of the geometries.
        """
        logits = getattr(outputs, "logits", outputs)
        geometries = [geometry] if isinstance(geometry, SliceGeometry) else list(geometry)
        expected = sum(item.num_slices for item in geometries)
        if logits.ndim != 4 or logits.shape[0] != expected:
            raise ValueError(
                f"logits of shape {tuple(logits.shape)} for {len(geometries)} cases of {expected} slices in all: give "
                "the logits (slices, num_logits, height, width) of all slices of these cases"
            )
        results, first = [], 0
        for item in geometries:
            with torch.no_grad():
                planes = lesion_probability(logits[first : first + item.num_slices].detach()).cpu().numpy()
            first += item.num_slices
            probability = self.restore_probability(planes, item)
            result = {"mask": self.mask_from_probability(probability, item, **mask)}
            if return_probability:
                result["probability"] = probability
            results.append(result)
        return results

    def restore_probability(self, probability, geometry):
        """Bring the probability of each slice back to the file grid.

        Parameters
        ----------
        probability : array_like of shape (num_slices, height, width)
        geometry : SliceGeometry

        Returns
        -------
        numpy.ndarray of shape ``geometry.shape``
            float32; 0 outside the window that the network saw.
        """
        return restore_planes(np.asarray(probability), geometry, order=1)

    def mask_from_probability(self, probability, geometry, threshold=None, **mask):
        """Threshold a probability on the file grid, smooth its slices, drop lesions too small or not of the largest.

        Parameters
        ----------
        probability : numpy.ndarray of shape ``geometry.shape``
        geometry : SliceGeometry
            Gives the volume of a voxel.
        threshold : float, optional
        **mask
            Options of :class:`~hf_lesionseg.models.mask_options.MaskOptions` instead of the settings, by name.

        Returns
        -------
        numpy.ndarray of shape ``geometry.shape``
            uint8, 0 and 1.

        Raises
        ------
        VolumeError
            For values that cannot be probabilities, such as logits or NaN.
        """
        options = MaskOptions.of(self, MaskOptions(threshold=threshold, **mask))
        check_probabilities(probability, "probability")
        return make_mask(probability, options, geometry.voxel_ml, geometry.file_slice_axis).view(np.uint8)


def _one_per_case(values, count, name):
    if values is None:
        return [None] * count
    values = list(values) if isinstance(values, list | tuple) else [values]
    if len(values) != count:
        raise VolumeError(f"{len(values)} {name} for {count} cases: give one per case")
    return values


def _affines(affine, count):
    if affine is None:
        return [None] * count
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape == (4, 4):
        return [affine] * count
    if affine.shape != (count, 4, 4):
        raise VolumeError(f"affine of shape {affine.shape} for {count} cases: give (4, 4), or one per case")
    return list(affine)


def _joined(arrays):
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
