"""What the generated data sets have in common: a reader that makes its source first."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from ..prepared.records import CaseRecord, Origin, RejectedCase
from ..readers.reader import Option, Reader
from .generated_folder import check_amount

__all__ = ["Generator"]


@dataclass(frozen=True, kw_only=True)
class Generator(Reader):
    """A data set that is made when it is prepared; it lies in the folder ``source`` of the prepared data.

    Attributes
    ----------
    count : cases; more of them add to a folder
    seed : of the whole set
    """

    label_help: ClassVar[str] = ""
    generates: ClassVar[bool] = True

    count: Annotated[int, Option("Cases to generate. A higher number adds to a folder.")]
    seed: Annotated[int, Option("Seed; equal seeds give equal cases.")] = 0

    @property
    def name(self) -> str:
        """What the prepared data are called."""
        return self.title

    def check(self) -> None:
        """Raise for settings that can make nothing, before anything is written."""
        check_amount("count", self.count, self.seed)

    @abstractmethod
    def generate(self, output: Path, *, workers: int, progress: bool) -> Path:
        """Make the cases that are not there yet below ``output``, and return the folder that `find` is given.

        Raises
        ------
        DataError
            Where the settings are impossible, or the folder holds something else.
        OutputError
            Where it cannot be written.
        """

    def describe(self, source: Path, records: Sequence[CaseRecord]) -> Origin:
        """Everything is marked synthetic."""
        return Origin(self.name, synthetic=True, licence=self.licence, source=source)

    def is_failure(self, rejected: RejectedCase) -> bool:
        """Whatever is generated can be read."""
        return True
