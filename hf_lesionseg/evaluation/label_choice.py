"""Which labels of truths and predictions are the lesion, and the remarks on them once all were read."""

from __future__ import annotations

import filecmp
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..datasets.prepared.label_tables import choose_values
from ..errors import DataError, UsageError
from ..imaging.label_census import LabelCensus
from ..models.label_values import in_words
from ..models.scan_formats import scan_stem
from .matching import TruthSet

_NAMED_AS_TRUTH = ("truth", "gt")
_SELF_CHECK = "--self-check (self_check=True) scores them, as a check of names and grids"


@dataclass(frozen=True)
class LabelChoice:
    """Labels that count as lesion, and the labels that were found.

    Attributes
    ----------
    truth, prediction : tuple of int, or None for all above 0
    truths, predictions : LabelCensus
        Filled while cases are scored.
    """

    truth: tuple[int, ...] | None = None
    prediction: tuple[int, ...] | None = None
    truths: LabelCensus = field(default_factory=lambda: LabelCensus("truths", "truths"))
    predictions: LabelCensus = field(
        default_factory=lambda: LabelCensus("predictions", "predictions", "--prediction-label")
    )

    def check(self) -> None:
        """Raise ``DataError`` where a label is wanted and occurs in no case, but for predictions without any lesion."""
        self.truths.check()
        if self.predictions.any_label:
            self.predictions.check()

    def remarks(self) -> list[str]:
        """Labels that count as one, and wanted ones that are missing."""
        return [*self.truths.remarks(), *self.predictions.remarks()]


def choose_labels(
    label: str | int | None,
    prediction_label: str | int | None,
    truth_set: TruthSet,
    folders: tuple[str | os.PathLike, str | os.PathLike],
    *,
    probabilities: bool = False,
) -> LabelChoice:
    """Understand what a person asked for: ``label`` of both sides, ``prediction_label`` where predictions have another.

    Parameters
    ----------
    label, prediction_label : value, several with commas
    truth_set : the truths
    folders : of predictions and truths
    probabilities : the predictions are some, which have no labels

    Raises
    ------
    UsageError
        For a value that is not a label, and for a label of prepared truths, which hold one lesion, or of probabilities.
    """
    predictions, truths = map(os.fspath, folders)
    if label is not None and truth_set.prepared is not None:
        raise UsageError(
            f"label {label} cannot be chosen in {truths}: prepared truths hold one lesion; --prediction-label chooses "
            "among the labels of the predictions"
        )
    if probabilities and prediction_label is not None:
        raise UsageError(
            f"prediction label {prediction_label} and a threshold exclude each other: probabilities have no labels"
        )
    try:
        wanted = None if label is None else choose_values(label, {}, truths)
        theirs = wanted if prediction_label is None else choose_values(prediction_label, {}, predictions)
    except DataError as error:
        raise UsageError(str(error)) from error
    return LabelChoice(
        wanted,
        None if probabilities else theirs,
        LabelCensus(truths, "truths"),
        LabelCensus(predictions, "predictions", "--prediction-label"),
    )


def refuse_same_folder(predictions: str | os.PathLike, truths: str | os.PathLike) -> None:
    """Raise ``UsageError`` where one folder is given for both."""
    if os.path.realpath(predictions) == os.path.realpath(truths):
        raise UsageError(
            f"{os.fspath(predictions)}: is given for predictions and for truths, so every score would be perfect; give "
            f"the folder of the predictions, or {_SELF_CHECK}"
        )


def refuse_truths(predictions: Mapping[str, Path], matched: Mapping[str, Path], truth_set: TruthSet) -> None:
    """Raise ``DataError`` where a prediction is the file of a truth, by a link or a folder within the other as well.

    A copy is refused where its name says what it is; else see :func:`copies_of_truths`.
    """
    own = {_identity(truth.path): truth for truth in truth_set.cases if truth.path.exists()}
    for path in predictions.values():
        truth = own.get(_identity(path)) if path.exists() else None
        if truth is not None:
            raise DataError(
                f"{path}: is the truth of case {truth.case}, not a prediction; move it away, or {_SELF_CHECK}"
            )
    named = {case: path for case, path in matched.items() if _is_named_as_truth(path)}
    for case in copies_of_truths(named, truth_set, named):
        raise DataError(f"{named[case]}: is a copy of the truth of case {case}; move it away, or {_SELF_CHECK}")


def copies_of_truths(matched: Mapping[str, Path], truth_set: TruthSet, cases: Iterable[str]) -> list[str]:
    """Those of ``cases`` whose prediction is their truth, byte for byte: a network's would differ in its header."""
    truths = {truth.case: truth.path for truth in truth_set.cases}
    return [case for case in cases if case in matched and _same_bytes(matched[case], truths[case])]


def told_copies(cases: list[str]) -> list[str]:
    """A sentence about copies; none where there are none."""
    if not cases:
        return []
    return [f"predictions that are their truths byte for byte, perhaps copies: {in_words(cases)}"]


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_named_as_truth(path: Path) -> bool:
    return scan_stem(path).rpartition("_")[2].lower() in _NAMED_AS_TRUTH


def _same_bytes(path: Path, other: Path) -> bool:
    try:
        return filecmp.cmp(path, other, shallow=False)
    except OSError:
        return False  # its own row says that it cannot be read
