"""Any BIDS data set: scans in ``sub-*/[ses-*/]``, lesion masks in ``derivatives/`` or beside their scans.

Scans and masks go by the names that BIDS gives them: ``sub-01_ses-1_acq-MPRAGE_T1w.nii.gz`` and
``derivatives/NAME/sub-01/ses-1/anat/sub-01_ses-1_..._label-lesion_mask.nii.gz``.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from ..errors import DataError
from .file_search import NIFTI, read_description, rejection, walk_files
from .prepare import prepare_cases
from .prepared import PreparedDataset
from .records import CaseRecord, RejectedCase
from .splits import make_splits, save_splits

__all__ = ["default_processor", "find_bids_cases", "prepare_bids"]

_FRACTIONS = {"train": 0.6, "validation": 0.2, "test": 0.2}
_NAME = re.compile(r"^(?P<entities>sub-[A-Za-z0-9]+(?:_[A-Za-z]+-[A-Za-z0-9.+]+)*)_(?P<suffix>[A-Za-z0-9]+)" + NIFTI)
_MASK_SUFFIXES = ("mask", "roi", "dseg")
_LESION = re.compile(r"lesion|stroke|infarct|label-[LR]$", re.IGNORECASE)
#: Entities that say how a mask was made, not which scan it belongs to.
_OF_MASKS = ("label", "desc", "hemi", "res", "den")
_REMEDY = "give the folder that holds sub-01, sub-02 and so on, with lesion masks in its derivatives/"


def default_processor(channels: tuple[str, ...] = ("t1w",)):
    """Scans between the percentiles of their non-zero voxels, CT cut to a window."""
    from ..models.image_processing_lesion import LesionImageProcessor

    return LesionImageProcessor(channel_names=channels)


def find_bids_cases(
    source: str | Path, channels: tuple[str, ...] = ("t1w",), entities: Mapping[str, str] | None = None
) -> tuple[list[CaseRecord], list[RejectedCase]]:
    """Collect the cases of a BIDS data set; no image is opened.

    A case is one session of one person (or the person, without sessions). Its mask is the file with the suffix "mask",
    "roi" or "dseg" that names a lesion in its label or description, or the only one of its session; several lesion
    masks of a session are united. A mask in a space (``space-MNI152...``) goes with the scans in this space.

    Parameters
    ----------
    source : folder of the data set
    channels : suffixes of the scans in lower case: "t1w", "flair", "dwi", ...
    entities : of the scans and masks to take where a session has several, such as ``{"acq": "MPRAGE", "run": "1"}``

    Returns
    -------
    records : by person and session
    rejected : sessions without a mask or a channel, or with a choice of scans, each with the remedy

    Raises
    ------
    DataError
        Where ``source`` is no folder, or holds no scan of these channels.
    """
    source = Path(source)
    if not source.is_dir():
        raise DataError(f"{source}: is not a folder; {_REMEDY}")
    scans: dict[tuple, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    masks: dict[tuple, list] = defaultdict(list)
    for path in walk_files(source, NIFTI):
        match = _NAME.match(path.name)
        if match is None:
            continue
        named = dict(pair.split("-", 1) for pair in match["entities"].split("_"))
        if not _wanted(named, entities or {}, match["suffix"]):
            continue
        session, suffix = (named["sub"], named.get("ses")), match["suffix"].lower()
        if suffix in _MASK_SUFFIXES:
            masks[session].append((path, named))
        elif suffix in channels:
            scans[session][suffix].append((path, named))
    if not scans:
        wanted = ", ".join(f"*_{channel}.nii.gz" for channel in channels)
        raise DataError(f"{source}: holds no BIDS scan named like sub-01_{wanted[2:]}; {_REMEDY}")

    records, rejected = [], []
    for session, by_channel in sorted(scans.items(), key=lambda item: tuple(map(str, item[0]))):
        first = next(iter(by_channel.values()))[0][0]
        try:
            images, lesions = _of_session(by_channel, _lesion_masks(masks.get(session, [])), channels)
        except LookupError as error:
            rejected.append(rejection(source, first, error.args[0]))
            continue
        person, time = session
        case = f"sub-{person}" + (f"_ses-{time}" if time else "")
        records.append(CaseRecord(case, f"sub-{person}", images, lesions))
    for session in sorted(set(masks) - set(scans), key=str):
        rejected += [rejection(source, path, "mask without a scan of these channels") for path, _ in masks[session]]
    return records, rejected


def prepare_bids(
    source: str | Path,
    output: str | Path,
    *,
    entities: Mapping[str, str] | None = None,
    processor=None,
    fractions: Mapping[str, float] = _FRACTIONS,
    seed: int = 0,
    workers: int = 0,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare a BIDS data set for training, and split it by person.

    Parameters
    ----------
    source, entities : as for `find_bids_cases`
    output : new folder, or one that an earlier call with the same settings began
    processor : LesionImageProcessor, whose channels are taken; by default `default_processor`
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
    processor = processor or default_processor()
    records, rejected = find_bids_cases(source, tuple(processor.channel_names), entities)
    if not records:
        raise DataError(f"{source}: none of its sessions can be used, {rejected[0].path}: {rejected[0].reason}")
    description = read_description(source / "dataset_description.json")
    dataset = prepare_cases(
        records,
        output,
        processor,
        name=str(description.get("Name") or source.resolve().name),
        synthetic=False,
        licence=str(description.get("License") or "unknown"),
        source=source,
        rejected=rejected,
        workers=workers,
        progress=progress,
    )
    save_splits(Path(output) / "splits.json", make_splits(dataset.cases, fractions, seed))
    return dataset


def _wanted(named, entities, suffix):
    """Whether a file has the entities that were asked for; a mask need not repeat those of its scan, but the space."""
    is_mask = suffix.lower() in _MASK_SUFFIXES
    return all(
        named.get(key, value if is_mask and key != "space" else None) == value for key, value in entities.items()
    )


def _lesion_masks(masks):
    """Those that name a lesion, or the only one there is."""
    named = [
        (path, entities)
        for path, entities in masks
        if any(_LESION.search(f"{key}-{value}") for key, value in entities.items() if key in _OF_MASKS)
    ]
    return named or (masks if len(masks) == 1 else [])


def _of_session(by_channel, masks, channels):
    """Images by channel and the masks of one session; ``LookupError`` says what is missing or to be chosen."""
    if not masks:
        raise LookupError("no lesion mask in its session (..._label-lesion_mask.nii.gz)")
    spaces = {entities.get("space") for _, entities in masks}
    if len(spaces) > 1:
        names = ", ".join(sorted(str(space) for space in spaces))
        raise LookupError(f"its lesion masks lie in several spaces ({names}); choose with --entity space=NAME")
    (space,) = spaces
    images = {}
    for channel in channels:
        found = by_channel.get(channel, [])
        here = [path for path, entities in found if entities.get("space") == space]
        if not here:
            where = f" in the space of its mask ({space})" if space else ""
            raise LookupError(f"has no {channel} scan{where}")
        if len(here) > 1:
            names = ", ".join(path.name for path in here)
            raise LookupError(f"has several {channel} scans ({names}); choose with --entity, such as run=1")
        images[channel] = here[0]
    return images, tuple(path for path, _ in masks)
