"""Any data set in nnU-Net's layout: ``imagesTr/NAME_0000.nii.gz``, a file per channel, ``labelsTr/NAME.nii.gz``.

``dataset.json``, where there is one, names the channels (``channel_names``, or ``modality`` of version 1) and labels.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from ..errors import DataError
from .file_search import NIFTI, read_description, rejection, walk_files
from .pancreas_ct import default_processor as ct_processor
from .prepare import prepare_cases
from .prepared import PreparedDataset
from .records import CaseRecord, RejectedCase
from .splits import make_splits, save_splits

__all__ = ["default_processor", "find_nnunet_cases", "label_values", "prepare_nnunet", "read_channel_names"]

_FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
_IMAGE = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})" + NIFTI)
_REMEDY = "give the folder that holds imagesTr and labelsTr, such as nnUNet_raw/Dataset007_Pancreas"


def default_processor(channels: tuple[str, ...]):
    """CT as in Pancreas-CT; of several channels CT by the same window, others between their own percentiles."""
    from ..models.image_processing_lesion import LesionImageProcessor

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
    """Values of the foreground that a person asked for by number or by its name in ``dataset.json``.

    Returns
    -------
    tuple of int, or None for all values above 0

    Raises
    ------
    DataError
        For a name that is unknown; it lists the known ones.
    """
    if label is None:
        return None
    named = read_description(Path(source) / "dataset.json").get("labels", {})
    # version 1 has {"1": "pancreas"}, version 2 {"pancreas": 1}, or a list of values for a region
    pairs = [(value, key) if str(key).isdigit() else (key, value) for key, value in dict(named).items()]
    known = {str(name): value for name, value in pairs if str(name) != "background"}
    value = known.get(label, label)
    try:
        values = tuple(int(each) for each in (value if isinstance(value, list) else [value]))
    except (TypeError, ValueError) as error:
        choices = ", ".join(known) or "none is named in dataset.json"
        raise DataError(f"{source}: label {label!r} is unknown; give a number, or one of: {choices}") from error
    if 0 in values:
        raise DataError(f"{source}: label {label!r} has the value 0, which is the background; give another")
    return values


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
    values = label_values(source, label)
    images: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in walk_files(source / "imagesTr", NIFTI):
        if match := _IMAGE.match(path.name):
            images[match["case"]].setdefault(int(match["channel"]), path)
    labels: dict[str, Path] = {}
    for path in walk_files(source / "labelsTr", NIFTI):
        labels.setdefault(re.sub(NIFTI, "", path.name), path)
    if not images:
        raise DataError(f"{source / 'imagesTr'}: holds no image named like NAME_0000.nii.gz; {_REMEDY}")
    records, rejected = [], []
    for case, files in sorted(images.items()):
        missing = [f"_{number:04d}" for number in range(len(channels)) if number not in files]
        first = files[min(files)]
        if case not in labels:
            rejected.append(rejection(source, first, "image without a label"))
        elif missing:
            rejected.append(rejection(source, first, f"channel {missing[0]} is missing"))
        else:
            named = {name: files[number] for number, name in enumerate(channels)}
            records.append(CaseRecord(case, case, named, (labels[case],), values))
    for case in sorted(set(labels) - set(images)):
        rejected.append(rejection(source, labels[case], "label without an image"))
    return records, rejected


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
        raise DataError(f"{source}: none of its images can be used, {rejected[0].path}: {rejected[0].reason}")
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
    save_splits(Path(output) / "splits.json", make_splits(dataset.cases, fractions, seed))
    return dataset
