"""The transformers pipeline of the task ``"lesion-segmentation"``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from transformers import AutoModelForSemanticSegmentation, Pipeline
from transformers.pipelines import PIPELINE_REGISTRY

from ..errors import ScanError
from ..imaging import Scan, read_scan
from ..imaging.perfusion.channels import SERIES
from ..imaging.perfusion.map_origin import map_origins, origin_notes
from ..models.mask_options import MaskOptions
from ..models.nifti_volume import check_varies, volume_from_image
from ..models.volume_geometry import VolumeError
from ..pretrained import DEFAULT, FOLDER
from ..provenance import marks, of_network
from .case_input import parse_case
from .flags import Evidence, find_flags, sentences
from .lesions import find_lesions
from .perfusion_input import CaseScans, read_case
from .regions import region_on_scan
from .slices import predict_slices

TASK = "lesion-segmentation"


class LesionSegmentationPipeline(Pipeline):
    """Segment the lesions of whole scans.

    Unlike most pipelines a single input is many network inputs: one per slice. ``batch_size`` therefore counts slices,
    and is halved as often as memory runs out; slices without tissue are not computed.

    Parameters
    ----------
    model : PreTrainedModel
        A network of this package.
    image_processor : LesionImageProcessor
    batch_size : int, optional
        Slices per step; by default 4 on a CPU and 32 on a GPU.
    precision : {"float32", "bfloat16", "float16"}
        Autocast for the network.
    deterministic : bool
        Equal bytes on every run.
    return_probability : bool
        Also return the probability of lesion on the scan's grid.
    **mask
        The options of :class:`~hf_lesionseg.models.mask_options.MaskOptions` by name, such as ``threshold``; by default
        the image processor's.

    Examples
    --------
    ::

        import hf_lesionseg
        from transformers import pipeline

        segmenter = pipeline("lesion-segmentation")  # the packaged network; or model="org/clci-net"
        result = segmenter("scan.nii.gz", threshold=0.4)
        hf_lesionseg.write_mask("mask.nii.gz", result["mask"], like=result["scan"])
    """

    _load_processor = False
    _load_image_processor = True
    _load_feature_extractor = False
    _load_tokenizer = False
    _load_video_processor = False  # looking for one would ask whether to run the code of the repository

    def __init__(self, *args, batch_size: int | None = None, **kwargs):
        # The base class would group whole volumes by batch_size; ours counts slices.
        super().__init__(*args, slices_per_batch=batch_size, **kwargs)

    def __call__(self, inputs: Any, *, batch_size: int | None = None, **kwargs) -> Any:
        """Segment one case or a list of cases.

        Parameters
        ----------
        inputs : path, nibabel image, Scan, or dict of channel name to one of these
            One case; a list of such, or a data set, are many. A network of CT perfusion takes a raw 4-D series too, as
            a path or as ``{"ctp": path}``, and networks of several channels a folder.
        **kwargs
            As for the class, for this call only.

        Returns
        -------
        dict, or list of dict
            mask : uint8 array (X, Y, Z) on the scan's own grid; lesions : list of dict (see
            :meth:`~hf_lesionseg.inference.lesions.Lesion.to_dict`), the largest first; labels : int32 array (X, Y, Z),
            each lesion's voxels marked by its id; total_volume_ml : float;
            scan : Scan, the first channel, for :func:`~hf_lesionseg.imaging.write_mask`; slices_total,
            slices_skipped, batch_size : int; execution : dict, in what form the network was run (see
            :class:`~hf_lesionseg.inference.prepared.PreparedNetwork`); warnings : tuple of str; flags : list of dict,
            what makes the mask doubtful (see :func:`~hf_lesionseg.inference.flags.find_flags`); perfusion : dict, how
            channels were made from a raw series, or None; regions : list of dict (see
            :func:`~hf_lesionseg.inference.regions.region_on_scan`) and slices_without_region : int, both None of a
            network without a first stage; training_data : str or None, what the network learned from, and where that
            was "generated" also notice : str; with ``return_probability`` also probability : float32 array (X, Y, Z).

        Raises
        ------
        ScanError
            A scan cannot be read, or a channel is missing.
        ModelError
            The network gives NaN.
        """
        if isinstance(inputs, (list, tuple)) and not inputs:
            return []  # no case has no result; the base class would look at the first of them
        return super().__call__(inputs, batch_size=1, slices_per_batch=batch_size, **kwargs)

    def _sanitize_parameters(
        self,
        slices_per_batch: int | None = None,
        precision: str | None = None,
        deterministic: bool | None = None,
        memory_format: str | None = None,
        progress: Callable[[int, int], None] | None = None,
        return_probability: bool | None = None,
        **mask: Any,
    ) -> tuple[dict, dict, dict]:
        forward = {
            "batch_size": slices_per_batch,
            "precision": precision,
            "deterministic": deterministic,
            "memory_format": memory_format,
            "progress": progress,
        }
        given = {name: value for name, value in forward.items() if value is not None}
        # by name, since what is given for one call goes over what was given for the pipeline
        postprocess = MaskOptions(**mask).given()
        if return_probability is not None:
            postprocess["return_probability"] = return_probability
        return {}, given, postprocess

    def preprocess(self, input_: Any) -> dict:
        """Turn one case into slices: ``pixel_values`` float32 (slices, channels, height, width) and their geometry."""
        names = tuple(self.image_processor.channel_names)
        perfusion, told = None, ()
        if isinstance(input_, CaseScans):
            case, perfusion, told = input_.scans, input_.perfusion, input_.warnings
        elif _names_files(input_, len(names)):
            read = read_case(parse_case(input_).files(names), names)
            case, perfusion, told = read.scans, read.perfusion, read.warnings
        else:
            case = input_ if isinstance(input_, Mapping) else {names[0]: input_}
        missing = [name for name in names if name not in case]
        if missing or len(case) > len(names):
            given = ", ".join(case) or "none"
            raise ScanError(f"the case has channels {given}; this network needs {', '.join(names)}")
        scans = {name: _as_scan(case[name]) for name in names}
        images = {name: scan.to_nibabel() for name, scan in scans.items()}
        features = self.image_processor.preprocess(images if len(names) > 1 else images[names[0]])
        (geometry,) = features["geometry"]
        origins = map_origins(scans, (perfusion or {}).get("channels", ()))
        trained_on = getattr(self.model.config, "perfusion_maps", None)
        told = [*told, *origin_notes(origins, trained_on, scans[names[0]].path)]
        told = [*told, *(warning for scan in scans.values() for warning in scan.warnings), *geometry.warnings]
        return {
            # An array on purpose: batches go to the device one by one, never the whole volume.
            "pixel_values": np.asarray(features["pixel_values"], dtype=np.float32),
            "geometry": geometry,
            "scan": scans[names[0]],
            "perfusion": perfusion,
            "warnings": tuple(dict.fromkeys(told)),
        }

    def _forward(self, model_inputs: dict, **parameters) -> dict:
        prediction = predict_slices(self.model, model_inputs["pixel_values"], **parameters)
        passed_on = {name: model_inputs[name] for name in ("geometry", "scan", "perfusion", "warnings")}
        return {"prediction": prediction, **passed_on}

    def postprocess(self, model_outputs: dict, return_probability: bool = False, **mask: Any) -> dict:
        """Bring the slices' probabilities back to the file's grid, make the mask of them, and find the lesions."""
        processor, geometry = self.image_processor, model_outputs["geometry"]
        scan, prediction = model_outputs["scan"], model_outputs["prediction"]
        probability = processor.restore_probability(prediction.probability, geometry)
        chosen = MaskOptions(**mask).differing_from(processor)
        mask = processor.mask_from_probability(probability, geometry, **chosen)
        lesions, labels = find_lesions(mask, scan.affine, scan.voxel_ml)
        result = {
            "mask": mask,
            "labels": labels,
            "lesions": [lesion.to_dict() for lesion in lesions],
            "total_volume_ml": float(np.count_nonzero(mask) * scan.voxel_ml),
            "scan": scan,
            "slices_total": prediction.slices_total,
            "slices_skipped": prediction.slices_skipped,
            "batch_size": prediction.batch_size,
            "execution": prediction.execution,
            "perfusion": model_outputs["perfusion"],
            "regions": None,
            "slices_without_region": prediction.slices_without_region,
            "warnings": model_outputs["warnings"] + prediction.warnings,
            "training_data": of_network(self.model.config),
            **marks(of_network(self.model.config)),
        }
        result["flags"] = find_flags(Evidence(geometry, scan, mask, processor, self.model.config))
        result["warnings"] += tuple(sentences(result["flags"]))
        if prediction.regions is not None:
            result["regions"] = [region_on_scan(region, geometry) for region in prediction.regions]
        if return_probability:
            result["probability"] = probability
        return result

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs) -> None:
        """Save network and image processor.

        The base class would also write ``custom_pipelines`` into ``config.json``; from then on transformers demands
        ``trust_remote_code=True`` for this task even where this package is installed.
        """
        self.model.save_pretrained(save_directory, **kwargs)
        self.image_processor.save_pretrained(save_directory, **kwargs)


def _names_files(case: Any, num_channels: int) -> bool:
    """Whether a case is a folder or series for several channels, or a dict with a series among its files."""
    return SERIES in case if isinstance(case, Mapping) else num_channels > 1 and isinstance(case, (str, os.PathLike))


def _as_scan(case: Any) -> Scan:
    if isinstance(case, Scan):
        return case
    if isinstance(case, (str, os.PathLike)):
        if not os.fspath(case):
            raise ScanError("an empty path; give a scan")  # pathlib takes it for the present folder
        return read_scan(case)
    if not isinstance(case, nib.spatialimages.SpatialImage):
        kind = type(case).__name__
        raise ScanError(f"input of type {kind} is not a scan; give a path, or nibabel.Nifti1Image(array, affine)")
    name = case.get_filename() or "image in memory"
    try:
        volume = volume_from_image(case, name)
        check_varies(volume.data, name)
    except VolumeError as error:
        raise ScanError(str(error)) from error
    header = nib.Nifti1Image(volume.data, volume.affine).header if volume.header is None else volume.header
    return Scan(Path(name), volume.data, volume.affine, header, volume.warnings)


def register_pipeline() -> None:
    """Make ``transformers.pipeline("lesion-segmentation", ...)`` known; does nothing the second time."""
    if TASK not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(
            TASK,
            pipeline_class=LesionSegmentationPipeline,
            pt_model=AutoModelForSemanticSegmentation,
            # a folder where transformers has a Hub id and a commit: it takes both, and a folder has one state only
            default={"model": (str(FOLDER / DEFAULT), "main")},
            type="image",
        )
