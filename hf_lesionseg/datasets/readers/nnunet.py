"""Any data set in nnU-Net's layout: ``imagesTr/NAME_0000.nii.gz``, a file per channel, ``labelsTr/NAME.nii.gz``.

Of one channel the number may be missing, as in the Medical Segmentation Decathlon, and a label may be called
``NAME_mask`` or ``NAME_0000``. Equal names in folders of their own (``imagesTr/case01/ct_0000.nii.gz``) go by these.
``dataset.json``, where there is one, names the channels (``channel_names``, or ``modality`` of version 1) and labels.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DataError
from ..prepared.label_tables import nnunet_table
from ..prepared.records import CaseRecord, Origin, RejectedCase
from .case_names import case_name, files_by_case, looser_names
from .file_search import NIFTI, read_description, rejection, walk_files
from .pancreas_ct import PancreasCT
from .reader import Found, Reader

__all__ = ["NNUNet", "read_channel_names"]

_IMAGE = re.compile(r"^(?P<case>.+)_(?P<channel>\d{4})" + NIFTI)
_REMEDY = "give the folder that holds imagesTr and labelsTr, such as nnUNet_raw/Dataset007_Pancreas"


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
        raise DataError(f"{source / 'dataset.json'}: channel_names {named!r} are not names by number") from error
    names = tuple(re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in names)
    if len(set(names)) < len(names) or not all(names):
        raise DataError(
            f"{source / 'dataset.json'}: channel_names {named!r} cannot be told apart; give each its own word"
        )
    return names


@dataclass(frozen=True, kw_only=True)
class NNUNet(Reader):
    """Any data set in nnU-Net's layout. Each case counts as a person of its own: nothing says who is who."""

    command = "nnunet"
    title = "nnU-Net's layout"
    help = """Prepare any data set in nnU-Net's layout.

    The command takes each case for a person of its own. It names a case that it cannot read, or whose label lies on
    another grid than its image, and prepares the others; the exit status is then 1. Without a recipe it normalises
    images other than CT between the percentiles of their non-zero voxels.

    `lesionseg prepare nnunet Dataset007_Pancreas -o pancreas --label 1`
    """
    source_help = "Folder with imagesTr and labelsTr, and dataset.json if there is one."
    unit = "images"
    channels = ()  # as dataset.json names them
    recipe_help = PancreasCT.recipe_help
    label_help = "Value or name of the label that is foreground; several with commas. Default: all above 0."

    def find(self, source: str | Path, channels: Sequence[str] | None = None) -> Found:
        """Collect the cases, with all channels that they have.

        Voxels that the data set calls "ignore" are not foreground. Rejected are images without label, labels without
        image, and cases of which a channel is missing.
        """
        source = Path(source)
        names, table = read_channel_names(source), _table(source)
        values = table.foreground if table is not None and table.unknown else None
        images, rejected = _images(source, len(names))
        labels, copies = _labels(source, images)
        rejected += copies
        records = []
        for case, files in sorted(images.items()):
            missing = [f"_{number:04d}" for number in range(len(names)) if number not in files]
            first = files[min(files)]
            if case not in labels:
                rejected.append(rejection(source, first, "image without a label"))
            elif missing:
                rejected.append(rejection(source, first, f"channel {missing[0]} is missing"))
            else:
                named = {name: files[number] for number, name in enumerate(names)}
                records.append(CaseRecord(case, case, named, (labels[case],), values, table=table))
        for case in sorted(set(labels) - set(images)):
            rejected.append(rejection(source, labels[case], "label without an image"))
        return records, rejected

    def default_processor(self, source: str | Path | None = None):
        """CT as in Pancreas-CT; of several channels CT by the same window, others between their own percentiles."""
        from ...models.image_processing_lesion import LesionImageProcessor

        channels = read_channel_names(source)
        return PancreasCT().default_processor() if channels == ("ct",) else LesionImageProcessor(channel_names=channels)

    def describe(self, source: Path, records: Sequence[CaseRecord]) -> Origin:
        """Name and licence as ``dataset.json`` has them."""
        description = read_description(source / "dataset.json")
        licence = str(description.get("licence") or description.get("license") or "unknown")
        name = str(description.get("name") or source.resolve().name)
        return Origin(name, synthetic=False, licence=licence, source=source)


def _table(source: Path):
    path = source / "dataset.json"
    return nnunet_table(path, read_description(path))


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
