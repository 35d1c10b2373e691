"""Which labels the masks of a whole data set hold: reported once, not mask by mask, and refused if none is wanted."""

from collections.abc import Iterable, Mapping

from ..errors import DataError
from ..models.label_values import in_words

__all__ = ["LabelCensus"]


class LabelCensus:
    """Counts in which masks each label occurs.

    Parameters
    ----------
    place : str
        The data set, for messages.
    masks : str
        What its masks are called there: "masks", "truths", "predictions".
    option : str
        By which a label is chosen.
    names : mapping of int to str, optional
        Names of the labels.
    unknown : iterable of int, optional
        Labels of voxels of which nobody said what they are.
    """

    def __init__(
        self,
        place: str,
        masks: str = "masks",
        option: str = "--label",
        names: Mapping[int, str] | None = None,
        unknown: Iterable[int] = (),
    ):
        self.place = place
        self.masks = masks
        self.option = option
        self.names = dict(names or {})
        self.unknown = frozenset(unknown)
        self._found: dict[int, list[str]] = {}  # by label, the cases
        self._wanted: dict[str, tuple[int, ...] | None] = {}  # by case
        self._warnings: list[str] = []

    def add(
        self, case: str, labels: Iterable[int], wanted: Iterable[int] | None = None, warnings: Iterable[str] = ()
    ) -> None:
        """Count the labels of a case, of which those that are wanted are its lesion; all of them by default.

        ``warnings`` are of this mask alone, and come behind the other remarks.
        """
        self._warnings.extend(warnings)
        self._wanted[case] = None if wanted is None else tuple(wanted)
        labels = list(labels)
        if wanted is None and labels == [255]:  # the mark of a mask, as 1 is
            labels = [1]
        for label in labels:
            self._found.setdefault(int(label), []).append(case)

    @property
    def any_label(self) -> bool:
        """Whether any mask has a label above 0."""
        return bool(self._found)

    def remarks(self) -> list[str]:
        """What a person should know, a sentence each."""
        return [*self._as_one(), *self._absent(), *self._unknown(), *self._warnings]

    def check(self) -> None:
        """Raise where a label is wanted and occurs in no case at all.

        Raises
        ------
        DataError
        """
        wanted = self._all_wanted()
        if not wanted or any(label in self._found for label in wanted) or None in self._wanted.values():
            return
        held = f"which hold {self._named(sorted(self._found))}" if self._found else "which are all empty"
        raise DataError(
            f"{self.place}: label {self._named(wanted, 'or')} occurs in none of its {len(self._wanted)} {self.masks}, "
            f"{held}; choose another label with {self.option}"
        )

    def _as_one(self):
        found = sorted(label for label in self._found if label not in self.unknown)
        if None not in self._wanted.values() or len(found) < 2:
            return
        yield (
            f"{self.place}: labels {self._named(found)} count as one in the {self.masks}; {self.option} chooses among "
            f"them, such as {self.option} {found[-1]}"
        )

    def _absent(self):
        for label in self._all_wanted():
            cases = self._found.get(label, [])
            without = [case for case, wanted in self._wanted.items() if label in (wanted or ()) and case not in cases]
            if not cases:
                yield f"{self.place}: label {self._named([label])} occurs in none of its {self.masks}"
            elif without:
                yield (
                    f"{self.place}: label {self._named([label])} occurs in no voxel of {len(without)} of "
                    f"{len(self._wanted)} {self.masks}: {in_words(without)}"
                )

    def _unknown(self):
        for label in sorted(self.unknown & self._found.keys()):
            yield (
                f"{self.place}: label {self._named([label])} stands for voxels that nobody labelled; they count as "
                f"background in {len(self._found[label])} of {len(self._wanted)} {self.masks}"
            )

    def _all_wanted(self):
        return sorted({label for wanted in self._wanted.values() for label in wanted or ()})

    def _named(self, labels, conjunction="and"):
        return in_words(
            (f"{label} ({self.names[label]})" if self.names.get(label) else f"{label}" for label in labels), conjunction
        )
