"""Any data set in nnU-Net's layout: ``imagesTr/NAME_0000.nii.gz``, a file per channel, ``labelsTr/NAME.nii.gz``.

Of one channel the number may be missing, as in the Medical Segmentation Decathlon, and a label may be called
``NAME_mask`` or ``NAME_0000``. Equal names in folders of their own (``imagesTr/case01/ct_0000.nii.gz``) go by these.
``dataset.json``, where there is one, names the channels (``channel_names``, or ``modality`` of version 1) and labels.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from ...errors import DataError, RejectedCasesError
from ...imaging.folder_lock import one_run_at_a_time
from ..prepared.label_tables import LabelTable, choose_values, nnunet_table
from ..prepared.reading import PreparedDataset
from ..prepared.records import CaseRecord, RejectedCase
from ..prepared.splits import split_prepared
from ..prepared.writing import prepare_cases
from .case_names import case_name, files_by_case, looser_names
from .file_search import NIFTI, read_description, rejection, walk_files
from .pancreas_ct import default_processor as ct_processor

__all__ = ["default_processor", "find_nnunet_cases", "label_values", "prepare_nnunet", "read_channel_names"]

_FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
_IMAGE = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})" + NIFTI)
_REMEDY = "give the folder that holds imagesTr and labelsTr, such as nnUNet_raw/Dataset007_Pancreas"


def default_processor(channels: tuple[str, ...]):
    """CT as in Pancreas-CT; of several channels CT by the same window, others between their own percentiles."""
    from ...models.image_processing_lesion import LesionImageProcessor

    return ct_processor() if channels == ("ct",) else LesionImageProcessor(channel_names=channels)


def read_channel_names(source: str | Path) -> tuple[str, ...]:
    """Channels of a folder in their order, in lower case ("CT" -> "ct", "T1 post" -> "t1_post").

    Without ``dataset.json`` they are numbered: "image" for one channel, "image0", "image1" for two.

    Raises
    ------
    DataError
        Where ``source`` is not in this layout, or its ``dataset.json`` is damaged.
    """
    source = Path(source)
    if not (source / "imagesTr").is_dir() or not (source / "labelsTr").is_dir():
        raise DataError(f"{source}: has no imagesTr and labelsTr; {_REMEDY}")
    description = read_description(source / "dataset.json")
    named = description.get("channel_names", description.get("modality"))
    if named is None:
        found = [_IMAGE.match(path.name) for path in walk_files(source / "imagesTr", NIFTI)]
        numbers = sorted({int(match["channel"]) for match in found if match})
        return tuple(f"image{number}" for number in numbers) if len(numbers) > 1 else ("image",)
    try:
        names = [str(named[key]) for key in sorted(named, key=int)]
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{source / 'dataset.json'}: channel_names {named!r} are no names by number") from error
    names = tuple(re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in names)
    if len(set(names)) < len(names) or not all(names):
        raise DataError(f"{source / 'dataset.json'}: channel_names {named!r} are not told apart; name each by a word")
    return names


def label_values(source: str | Path, label: str | None) -> tuple[int, ...] | None:
    """Values of the foreground that a person asked for by number or by name in ``dataset.json``, several with commas.

    Returns
    -------
    tuple of int, or None for all values above 0; never voxels that the data set calls "ignore"

    Raises
    ------
    DataError
        For a name that is unknown; it lists the known ones.
    """
    table = _table(source)
    if label is None:
        return table.foreground if table is not None and table.unknown else None
    return choose_values(label, {} if table is None else table.regions, source)


def _table(source: str | Path) -> LabelTable | None:
    path = Path(source) / "dataset.json"
    return nnunet_table(path, read_description(path))


def find_nnunet_cases(source: str | Path, label: str | None = None) -> tuple[list[CaseRecord], list[RejectedCase]]:
    """Collect the cases of a folder; no image is opened.

    Each case counts as a person of its own: the layout does not tell who is who.

    Parameters
    ----------
    source : folder with ``imagesTr`` and ``labelsTr``
    label : value or name of the foreground; without it all values above 0

    Returns
    -------
    records : in the order of their names
    rejected : images without label, labels without image, a channel that is missing

    Raises
    ------
    DataError
        Where ``source`` is not in this layout, holds no image, or does not know the label.
    """
    source = Path(source)
    channels = read_channel_names(source)
    values, table = label_values(source, label), _table(source)
    images, rejected = _images(source, len(channels))
    labels, copies = _labels(source, images)
    rejected += copies
    records = []
    for case, files in sorted(images.items()):
        missing = [f"_{number:04d}" for number in range(len(channels)) if number not in files]
        first = files[min(files)]
        if case not in labels:
            rejected.append(rejection(source, first, "image without a label"))
        elif missing:
            rejected.append(rejection(source, first, f"channel {missing[0]} is missing"))
        else:
            named = {name: files[number] for number, name in enumerate(channels)}
            records.append(CaseRecord(case, case, named, (labels[case],), values, table=table))
    for case in sorted(set(labels) - set(images)):
        rejected.append(rejection(source, labels[case], "label without an image"))
    return records, rejected


def _images(source: Path, num_channels: int) -> tuple[dict[str, dict[int, Path]], list[RejectedCase]]:
    """File of each channel by case, and those that are none: second copies, names without a channel's number."""
    files = list(walk_files(source / "imagesTr", NIFTI))
    numbered = [path for path in files if _IMAGE.match(path.name)]
    images: dict[str, dict[int, Path]] = defaultdict(dict)
    rejected = []
    if numbered:
        odd = [path for path in files if path not in set(numbered)]
        rejected += [rejection(source, path, "name without a channel's number, such as _0000") for path in odd]
        for case, paths in files_by_case(numbered, source / "imagesTr", _case_of_image).items():
            for path in paths:
                number = int(_IMAGE.match(path.name)["channel"])
                first = images[case].setdefault(number, path)
                if first != path:
                    rejected.append(rejection(source, path, f"second copy of {first.relative_to(source).as_posix()}"))
    elif num_channels == 1:
        for case, paths in files_by_case(files, source / "imagesTr", _stem).items():
            images[case][0] = paths[0]
            rejected += [rejection(source, path, f"second copy of {paths[0].name}") for path in paths[1:]]
    if not images:
        raise DataError(f"{source / 'imagesTr'}: holds no image named like NAME_0000.nii.gz; {_REMEDY}")
    return dict(images), rejected


def _labels(source: Path, cases: Iterable[str]) -> tuple[dict[str, Path], list[RejectedCase]]:
    """Label of each case: of the case's own name first, then of this with a word such as _mask, or _0000."""
    by_stem = files_by_case(list(walk_files(source / "labelsTr", NIFTI)), source / "labelsTr", _stem)
    cases = set(cases)
    labels, rejected = {}, []
    for stem, paths in sorted(by_stem.items(), key=lambda item: (item[0] not in cases, item[0])):
        names = [stem, *looser_names(stem), case_name(f"{stem}.nii"), *looser_names(case_name(f"{stem}.nii"))]
        case = next((name for name in names if name in cases), stem)
        labels.setdefault(case, paths[0])
        second = [path for path in paths if path != labels[case]]
        reason = f"second label of {case} beside {labels[case].relative_to(source).as_posix()}"
        rejected += [rejection(source, path, reason) for path in second]
    return labels, rejected


def _stem(path: Path) -> str:
    return re.sub(NIFTI, "", path.name)


def _case_of_image(path: Path) -> str:
    return _IMAGE.match(path.name)["case"]


@one_run_at_a_time("lesionseg prepare")
def prepare_nnunet(
    source: str | Path,
    output: str | Path,
    *,
    label: str | None = None,
    processor=None,
    fractions: Mapping[str, float] = _FRACTIONS,
    seed: int = 0,
    workers: int = 0,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare a folder in nnU-Net's layout for training, and split it by case.

    Parameters
    ----------
    source, label : as for `find_nnunet_cases`
    output : new folder, or one that an earlier call with the same settings began
    processor : LesionImageProcessor; by default `default_processor`
    fractions : share of each split, by name
    seed : of the split
    workers : processes; 0 works in this one
    progress : show a progress bar

    Raises
    ------
    DataError
        Where ``source`` holds no usable case, or ``output`` something else.
    """
    source = Path(source)
    records, rejected = find_nnunet_cases(source, label)
    if not records:
        reason = f"none of its images can be used, {rejected[0].path}: {rejected[0].reason}"
        raise RejectedCasesError(f"{source}: {reason}", rejected)
    description = read_description(source / "dataset.json")
    name = str(description.get("name") or source.resolve().name)
    dataset = prepare_cases(
        records,
        output,
        processor or default_processor(read_channel_names(source)),
        name=name if label is None else f"{name} ({label})",
        synthetic=False,
        licence=str(description.get("licence") or description.get("license") or "unknown"),
        source=source,
        rejected=rejected,
        workers=workers,
        progress=progress,
    )
    split_prepared(dataset, fractions, seed)
    return dataset
