"""Which prediction belongs to which truth.

By the names of the cases, first as they are. What is then left over is paired by what the run record beside a
prediction says it was made of, by nnU-Net's name of a first channel, and by BIDS names that agree in all that both
tell; each only where one prediction and one truth fit no other.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ..datasets.readers.case_names import looser_names, same_acquisition
from ..errors import DataError
from ..models.scan_formats import scan_stem

__all__ = ["TruthCase", "match_predictions"]


@dataclass(frozen=True)
class TruthCase:
    """One true mask on disk.

    Attributes
    ----------
    case, person : str
        Names of the case and of the person.
    path : Path
        The mask.
    aliases : frozenset of str
        Case names under which a prediction is accepted, the case's own among them.
    sources : tuple of str
        Files that the case was made of, as far as they are known: paths, or the ends of paths.
    """

    case: str
    person: str
    path: Path
    aliases: frozenset[str] = frozenset()
    sources: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        return self.aliases | {self.case}


def match_predictions(
    truths: Sequence[TruthCase], predictions: Mapping[str, Path]
) -> tuple[dict[str, Path], list[str]]:
    """Return the prediction of each truth by the truth's case name, and the predictions that belong to no truth.

    Raises
    ------
    DataError
        Two predictions belong to one truth.
    """
    matched: dict[str, str] = {}
    for truth in truths:
        own = [name for name in sorted(truth.names) if name in predictions]
        if len(own) > 1:
            raise DataError(
                f"{predictions[own[0]]} and {predictions[own[1]]} both belong to case {truth.case}; keep one of them"
            )
        if own:
            matched[truth.case] = own[0]
    rules = (_made_of_the_same(predictions), _by_looser_name, _by_acquisition)
    for fits in rules:
        rest = [name for name in predictions if name not in set(matched.values())]
        open_truths = [truth for truth in truths if truth.case not in matched]
        if not rest or not open_truths:
            break
        matched.update(_only_pairs(open_truths, rest, fits))
    strangers = set(predictions) - set(matched.values())
    return {case: predictions[name] for case, name in matched.items()}, sorted(
        predictions[name].name for name in strangers
    )


def _only_pairs(
    truths: Iterable[TruthCase], names: Iterable[str], fits: Callable[[TruthCase, str], bool]
) -> dict[str, str]:
    """Pairs of which neither side fits another one."""
    pairs = [(truth.case, name) for truth in truths for name in names if fits(truth, name)]
    cases, used = Counter(case for case, _ in pairs), Counter(name for _, name in pairs)
    return {case: name for case, name in pairs if cases[case] == used[name] == 1}


def _by_looser_name(truth: TruthCase, name: str) -> bool:
    own = {*truth.names, *(looser for each in truth.names for looser in looser_names(each))}
    return name in own or any(looser in own for looser in looser_names(name))


def _by_acquisition(truth: TruthCase, name: str) -> bool:
    return any(same_acquisition(name, each) for each in truth.names)


def _made_of_the_same(predictions: Mapping[str, Path]) -> Callable[[TruthCase, str], bool]:
    """Whether the run record beside a mask names a file that the truth's case was made of."""
    inputs: dict[str, list[str]] = {}

    def fits(truth: TruthCase, name: str) -> bool:
        if not truth.sources:
            return False
        if name not in inputs:
            inputs[name] = _inputs_of(predictions[name])
        return any(_ends_with(path, source) for path in inputs[name] for source in truth.sources)

    return fits


def _inputs_of(mask: Path) -> list[str]:
    """Files that `lesionseg segment` made a mask of, by its record; none where there is no record of it."""
    record = mask.with_name(f"{scan_stem(mask).removesuffix('_mask')}_record.json")
    try:
        return [str(each["file"]) for each in json.loads(record.read_text(encoding="utf-8"))["inputs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _ends_with(path: str, end: str) -> bool:
    """Whether a path ends with these parts; one part alone, a file's name, is too little."""
    parts, wanted = PurePath(path.replace("\\", "/")).parts, PurePath(end.replace("\\", "/")).parts
    return len(wanted) > 1 and parts[-len(wanted) :] == wanted
