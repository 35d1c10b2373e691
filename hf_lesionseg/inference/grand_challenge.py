"""Masks of ``lesionseg segment`` as grand-challenge.org lays them out for a challenge's evaluation.

Every case is ``<case>/output/images/<slug>/<case>.mha``, and beside the cases ``predictions.json`` tells the
evaluation where each mask lies: the platform's example evaluation method (templates since 2023, with "interface" in
earlier and "socket" in later ones; both are written) takes each entry's ``pk``, finds the output of its slug, reads
``relative_path`` and opens the image in ``/input/<pk>/output/<relative_path>/``. ISLES'22, ISLES'24 and ATLAS R2.0
call the output ``stroke-lesion-segmentation``. On the platform the algorithm itself runs, and ``pk`` is its job's; here
it is the case's name, so that a challenge's evaluation container can be run on the folder as its ``/input``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from ..errors import LesionSegError, OutputError, UsageError
from ..imaging import mask_writer, read_mask
from ..imaging.atomic import replace_folder_aside, write_aside
from ..provenance import marks, of_record
from .submission import Submission, find_results, notice_of, read_inputs

PREDICTIONS = "predictions.json"
DEFAULT_SLUG = "stroke-lesion-segmentation"
FORMATS = ("mha", "nii.gz")
#: Channel -> slug of the platform's input; others keep their channel's name.
INPUT_SLUGS = {
    "t1w": "t1-brain-mri",
    "dwi": "dwi-brain-mri",
    "adc": "adc-brain-mri",
    "flair": "flair-brain-mri",
}
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def export_grand_challenge(
    masks: str | os.PathLike, output: str | os.PathLike, *, slug: str = DEFAULT_SLUG, file_format: str = "mha"
) -> Submission:
    """Write the masks of a folder in grand-challenge's layout.

    Parameters
    ----------
    masks : path
        Folder that ``lesionseg segment`` wrote.
    output : path
        Folder for the cases and ``predictions.json``, new or empty but for those of an earlier export.
    slug : str
        Slug of the output's interface: lower-case words with ``-`` between them.
    file_format : {"mha", "nii.gz"}
        The platform keeps images as .mha; some evaluations also read .nii.gz. Either lies on the case's own grid.

    Raises
    ------
    DataError
        The folder holds no result of ``lesionseg segment``.
    UsageError
        The slug or the format cannot be.
    OutputError
        The output holds something else, or cannot be written to.
    """
    if not _SLUG.fullmatch(slug):
        raise UsageError(
            f"slug {slug!r} is not allowed; use lower-case words with - between them, such as {DEFAULT_SLUG}"
        )
    if file_format not in FORMATS:
        raise UsageError(f"format {file_format!r} is unknown; use {' or '.join(FORMATS)}")
    masks, output = Path(masks), Path(output)
    records = find_results(masks)
    _claim(output)
    written, failed, predictions = {}, {}, []
    for case, record in records.items():
        try:
            inputs = read_inputs(record)
            mask = read_mask(record.with_name(f"{case}_mask.nii.gz"))
            name = f"{case}.{file_format}"
            place = Path("output") / "images" / slug / name
            with replace_folder_aside(output / case) as aside:
                (aside / place).parent.mkdir(parents=True)
                mask_writer(place)(aside / place, mask.data, like=mask)
            written[case] = output / case / place
            predictions.append(_prediction(case, inputs, slug, name) | marks(of_record(record)))
        except OutputError:
            raise
        except LesionSegError as error:
            failed[case] = str(error)
    with write_aside(output / PREDICTIONS) as aside:
        aside.write_text(json.dumps(predictions, indent=2) + "\n")
    return Submission(written, failed, notice_of(records.values()))


def _prediction(case: str, inputs: dict[str, Path], slug: str, name: str) -> dict:
    """Entry of ``predictions.json``, with the keys that evaluation methods read."""
    images = [
        _value(INPUT_SLUGS.get(channel, channel.lower().replace("_", "-")), "Image", path.name, f"{case}-{channel}")
        for channel, path in inputs.items()
    ]
    return {
        "pk": case,
        "status": "Succeeded",
        "inputs": images,
        "outputs": [_value(slug, "Segmentation", name, case)],
    }


def _value(slug: str, kind: str, name: str, pk: str) -> dict:
    interface = {
        "slug": slug,
        "title": slug.replace("-", " ").capitalize(),
        "kind": kind,
        "super_kind": "Image",
        "relative_path": f"images/{slug}",
    }
    image = {"pk": pk, "name": name}
    return {"interface": interface, "socket": interface, "image": image, "file": None, "value": None}


def _claim(output: Path) -> None:
    """Make the folder, and take an earlier export out of it: an old mask must not be sent as a new one."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        former = sorted(path for path in output.iterdir() if not path.name.startswith("."))
        known = _cases_of(output / PREDICTIONS)
        for path in former:
            if path.name != PREDICTIONS and not (path.name in known and (path / "output" / "images").is_dir()):
                raise OutputError(f"{output}: holds {path.name}, which is not a submission; choose a new folder")
        for path in former:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise OutputError(f"{output}: cannot be written to ({error.strerror}); choose another folder") from error


def _cases_of(predictions: Path) -> set[str]:
    """Cases of an earlier export; none where there was none."""
    if not predictions.exists():
        return set()
    try:
        return {str(entry["pk"]) for entry in json.loads(predictions.read_text("utf-8"))}
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{predictions}: does not come from an export of this package ({error!r}); choose a new folder"
        ) from error
