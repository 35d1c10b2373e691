"""The catalogue of heads: anatomies and lesion masks, reduced, checked and split by source into three disjoint sets.

"fit" is for training, "choose" for all that is chosen (checkpoint, threshold, smallest lesion, hard negatives), and
"report" for one evaluation at the end. A catalogue is the folder ``heads`` in a prepared folder: ``catalogue.json``,
``anatomy/<id>/*.npy`` and ``lesions.npy``.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage as ndi
from tqdm import tqdm

from ....errors import DataError, UsageError
from ....imaging.atomic import replace_folder_aside, write_aside
from ...workers import run_tasks
from .anatomy import Anatomy, measure_anatomy
from .brain_tissue import classify_brain, correct_shading, find_brain
from .stroke_masks import LesionMasks, clean_mask, read_masks
from .tissues import Tissue, tissues_of_labels

__all__ = ["SPLITS", "HeadCatalogue", "HeadSources", "build_catalogue"]

SPLITS = ("fit", "choose", "report")
KINDS = ("labels", "head", "brain")
CATALOGUE = "catalogue.json"
HARD_NEGATIVES = "hard_negatives.json"
VERSION = 1
_HELD_OUT = 0.17  # share of the anatomies of a kind in each of choose and report
_HELD_OUT_MASKS = 0.15
_WHITE = 110.0  # of white matter in stored images


@dataclass(frozen=True)
class HeadSources:
    """Where heads come from.

    Attributes
    ----------
    labels, heads, brains : files or folders of label maps, whole T1w heads, and stripped T1w brains
    lesions : folders or tar archives of lesion masks in MNI space at 1 mm
    brain_masks : folder of masks for whole heads, by the heads' file names; others are made by BET
    licences : licence by the name of a source (folder or file), where no dataset_description.json says it
    """

    labels: Sequence[Path] = ()
    heads: Sequence[Path] = ()
    brains: Sequence[Path] = ()
    lesions: Sequence[Path] = ()
    brain_masks: Path | None = None
    licences: Mapping[str, str] = field(default_factory=dict)


class HeadCatalogue:
    """A catalogue on disk.

    Parameters
    ----------
    folder : Path
        Holds ``catalogue.json``.

    Raises
    ------
    DataError
        Where it is missing, damaged or of another version.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        try:
            self.record = json.loads((self.folder / CATALOGUE).read_text())
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.folder / CATALOGUE}: cannot be read ({error}); make it with `lesionseg prepare heads`"
            ) from error
        if self.record.get("version") != VERSION:
            raise DataError(f"{self.folder}: was made by another version; run `lesionseg prepare heads` again")
        self.anatomies = [Anatomy(self.folder / "anatomy" / each["id"], each) for each in self.record["anatomies"]]
        self.masks = LesionMasks(self.folder / "lesions.npy", self.record["masks"])
        self.mni_centre, self.mni_spread = (np.array(self.record[f"mni_{name}"], np.float32)
                                            for name in ("centre", "spread"))  # fmt: skip

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that rendering depends on."""
        return hashlib.sha256(json.dumps(self.record, sort_keys=True).encode()).hexdigest()

    @cached_property
    def hard_negatives(self) -> dict | None:
        """Healthy slices in which a network marked lesions: ``seed`` and ``indices``, or None."""
        path = self.folder / HARD_NEGATIVES
        return json.loads(path.read_text()) if path.is_file() else None

    def keep_hard_negatives(self, seed: int, indices: Sequence[int], found_by: str) -> None:
        """Keep the numbers of hard slices for those who train after this."""
        record = {"seed": seed, "indices": [int(index) for index in indices], "found_by": found_by}
        with write_aside(self.folder / HARD_NEGATIVES) as aside:
            aside.write_text(json.dumps(record) + "\n")

    def of(self, split: str, *kinds: str) -> list[Anatomy]:
        """Anatomies of one split, of some kinds or all."""
        return [each for each in self.anatomies if each.split == split and (not kinds or each.kind in kinds)]

    def licences(self) -> dict[str, str]:
        """Licence of each source."""
        found = {}
        for each in [*self.record["anatomies"], *self.record["masks"]]:
            found.setdefault(each["source"], each["licence"])
        return found


def build_catalogue(sources: HeadSources, folder: Path, *, seed: int = 0, workers: int = 0, progress: bool = True):
    """Reduce, check and split what heads are made of.

    Anatomies that are there already with the same checksum are kept, so that a stopped run goes on.

    Parameters
    ----------
    sources : HeadSources
    folder : of the catalogue, new or begun
    seed : of the split
    workers : processes; 0 works in this one

    Returns
    -------
    HeadCatalogue

    Raises
    ------
    DataError
        For labels that no tissue stands for, a mask on another grid, a head without a brain, sources without any
        file, one file or person in two splits, sets too small to split.
    UsageError
        Where no anatomies or no masks are given.
    """
    files = [
        (kind, root, path)
        for kind, roots in (("labels", sources.labels), ("head", sources.heads), ("brain", sources.brains))
        for root in roots
        for path in _scans(Path(root))
    ]
    if not files:
        raise UsageError("no anatomies are given; give label maps, heads or brains with --labels, --heads or --brains")
    if not sources.lesions:
        raise UsageError("no lesion masks are given; give a folder or tar archive of them with --lesions")
    folder.mkdir(parents=True, exist_ok=True)
    anatomies = []
    for kind, root, path in files:
        source = _source_name(root)
        person = f"{source}:{_person(path)}"
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        anatomies.append(
            {"id": f"{kind}-{_stem(path)}", "kind": kind, "person": person, "file": path.name, "source": source,
             "sha256": digest, "licence": _licence(Path(root), source, sources.licences), "path": path}
        )  # fmt: skip
    _refuse_doubles(anatomies)
    _split_people(anatomies, seed)
    brain_masks = sources.brain_masks
    tasks = [(entry, folder, brain_masks) for entry in anatomies if not _is_there(entry, folder)]
    for index, error in run_tasks(_write_anatomy, tasks, workers, "anatomies", progress):
        if error is not None:
            raise error if isinstance(error, DataError) else DataError(f"{tasks[index][0]['path']}: {error!r}")
    entries = []
    for entry in anatomies:
        measured = json.loads((folder / "anatomy" / entry["id"] / "measured.json").read_text())
        measured.pop("sha256")
        entries.append({**{key: value for key, value in entry.items() if key != "path"}, **measured})
    brain, centre, spread = mni_brain()
    masks = _write_masks(sources, folder, brain, seed, progress)
    record = {
        "version": VERSION,
        "seed": seed,
        "mni_centre": [round(float(value), 3) for value in centre],
        "mni_spread": [round(float(value), 3) for value in spread],
        "anatomies": entries,
        "masks": masks,
    }
    with write_aside(folder / CATALOGUE) as aside:
        aside.write_text(json.dumps(record, indent=1) + "\n")
    return HeadCatalogue(folder)


@lru_cache(maxsize=1)
def mni_brain():
    """The brain of the MNI template: a function of points in mm, its centre and its spread."""
    from ..template import load_template

    template = load_template(1)
    mask, affine = template.brain, template.affine
    near = ndi.binary_dilation(mask, iterations=3)
    voxels = np.argwhere(mask)
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    inverse = np.linalg.inv(affine)

    def inside(points):
        at = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
        fits = ((at >= 0) & (at < near.shape)).all(1)
        found = np.zeros(len(points), bool)
        found[fits] = near[tuple(at[fits].T)]
        return found

    return inside, world.mean(0), world.std(0)


def _scans(root):
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise DataError(f"{root}: no such file or folder")
    found = sorted(path for path in root.rglob("*") if path.name.endswith((".nii", ".nii.gz")) and path.name[0] != ".")
    if not found:
        raise DataError(f"{root}: holds no NIfTI files")
    return found


def _stem(path):
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _person(path):
    """The person of a scan by its name: `sub-07` of BIDS, otherwise the whole stem."""
    found = re.match(r"sub-[0-9A-Za-z]+", path.name)
    return found[0] if found else _stem(path)


def _source_name(root):
    root = Path(root)
    return root.name if root.is_dir() else root.parent.name if root.name.endswith((".nii", ".nii.gz")) else root.name


def _licence(root, source, given):
    if source in given:
        return given[source]
    for folder in (root, root.parent):
        path = folder / "dataset_description.json"
        if path.is_file():
            return json.loads(path.read_text()).get("License", "unknown")
    return "unknown"


def _refuse_doubles(anatomies):
    for name in ("id", "sha256"):
        seen = {}
        for entry in anatomies:
            other = seen.setdefault(entry[name], entry)
            if other is not entry:
                what = "hold the same bytes" if name == "sha256" else "have one name"
                raise DataError(
                    f"{entry['path']} and {other['path']}: {what}, and could fall into two splits; give one of them"
                )


def _split_people(entries, seed, share=_HELD_OUT):
    """Share out people, kind by kind, the same way for the same names."""
    rng = np.random.default_rng(seed)
    taken = {}
    for kind in dict.fromkeys(entry.get("kind", "mask") for entry in entries):
        of_kind = [entry for entry in entries if entry.get("kind", "mask") == kind]
        people = sorted({entry["person"] for entry in of_kind} - set(taken))
        if len(people) < 3 and any(entry["person"] not in taken for entry in of_kind):
            for person in people:  # too few to hold any out
                taken[person] = "fit"
            continue
        held_out = max(1, round(share * len(people)))
        order = [people[index] for index in rng.permutation(len(people))]
        for number, person in enumerate(order):
            taken[person] = "choose" if number < held_out else "report" if number < 2 * held_out else "fit"
    for entry in entries:
        entry["split"] = taken[entry["person"]]


def _is_there(entry, folder):
    path = folder / "anatomy" / entry["id"] / "measured.json"
    return path.is_file() and json.loads(path.read_text()).get("sha256") == entry["sha256"]


def _write_anatomy(entry, folder, brain_masks):
    arrays, measured = _read_anatomy(entry["kind"], entry["path"], brain_masks)
    with replace_folder_aside(folder / "anatomy" / entry["id"]) as aside:
        for name, array in arrays.items():
            np.save(aside / f"{name}.npy", array)
        (aside / "measured.json").write_text(json.dumps({**measured, "sha256": entry["sha256"]}))


def _read_anatomy(kind, path, brain_masks):
    try:
        image = nib.as_closest_canonical(nib.load(path))
        data = np.squeeze(np.asanyarray(image.dataobj))
    except (OSError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    spacing = tuple(float(size) for size in nib.affines.voxel_sizes(image.affine))
    if data.ndim != 3:
        raise DataError(f"{path}: has shape {data.shape}; give a volume of three axes")
    if kind == "labels":
        if not np.array_equal(data, np.rint(data)):
            raise DataError(f"{path}: holds values that are not whole numbers; give a label map")
        return measure_anatomy(tissues_of_labels(data.astype(np.int32), str(path)), spacing)
    data = data.astype(np.float32)
    if kind == "brain":
        mask = ndi.binary_fill_holes(ndi.binary_closing(data > 0, iterations=2))
        if mask.mean() > 0.6:
            raise DataError(
                f"{path}: is not a stripped brain, since {mask.mean():.0%} of it is above 0; give it as a head"
            )
    else:
        mask = _brain_mask(path, data, image.affine, brain_masks)
    corrected = correct_shading(data, mask, spacing, str(path))
    tissue, means = classify_brain(corrected, mask, spacing)
    scaled = corrected * (_WHITE / means[2])
    if kind == "head":
        head = ndi.gaussian_filter(scaled, [1.0 / size for size in spacing]) > 10
        head = ndi.binary_closing(_largest(head), iterations=3)
        tissue[head & ~mask] = Tissue.OUTSIDE
    else:
        scaled = np.where(mask, scaled, 0)
    arrays, measured = measure_anatomy(tissue, spacing, scaled)
    return arrays, {**measured, "means": [round(value * _WHITE / means[2], 2) for value in means]}


def _largest(mask):
    parts, count = ndi.label(mask)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    return parts == sizes.argmax()


def _brain_mask(path, data, affine, folder):
    given = None if folder is None else next(
        (each for each in sorted(Path(folder).glob("*.nii*")) if _stem(each).startswith(_stem(path))), None
    )  # fmt: skip
    if given is None:
        return find_brain(data, affine, str(path))
    image = nib.as_closest_canonical(nib.load(given))
    if image.shape[:3] != data.shape or not np.allclose(image.affine, affine, atol=1e-3):
        raise DataError(f"{given}: lies on another grid than {path}; resample it")
    mask = np.asarray(image.dataobj) > 0
    if not mask.any():
        raise DataError(f"{given}: is empty, so that {path} has no brain")
    return mask


def _write_masks(sources, folder, brain, seed, progress):
    records, packed, first = [], [], 0
    for root in sources.lesions:
        root = Path(root)
        source, before = _source_name(root), len(records)
        licence = _licence(root, source, sources.licences)
        found = tqdm(read_masks(root), desc=f"masks of {root.name}", unit="mask", leave=False, disable=not progress)
        for name, image, content in found:
            mask, origin = clean_mask(image, brain, f"{root}: {name}")
            if mask is None:
                continue
            bits = np.packbits(mask)
            stem = _stem(Path(name))
            records.append(
                {"id": f"{source}:{stem}", "person": f"{source}:{_mask_person(stem)}", "source": source,
                 "licence": licence, "sha256": hashlib.sha256(content).hexdigest(),
                 "volume_ml": round(float(mask.sum()) / 1000, 4), "shape": list(mask.shape),
                 "origin": [float(value) for value in origin], "first": first, "bytes": len(bits)}
            )  # fmt: skip
            packed.append(bits)
            first += len(bits)
        if len(records) == before:
            raise DataError(f"{root}: none of its masks holds a lesion of 0.05 to 400 mL inside the brain")
    if len({record["person"] for record in records}) < 3:
        raise DataError("fewer than three people have lesion masks, which is too few for three splits; give more")
    _split_people(records, seed, _HELD_OUT_MASKS)
    with write_aside(folder / "lesions.npy") as aside, Path(aside).open("wb") as file:
        np.save(file, np.concatenate(packed))
    return records


def _mask_person(stem):
    found = re.search(r"sub-[0-9A-Za-z]+", stem)
    return found[0] if found else stem
