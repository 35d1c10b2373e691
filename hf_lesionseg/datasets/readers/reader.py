"""The contract of all readers: what is known of a data set beforehand, and how its cases are found.

A reader is a frozen dataclass. What is true of the data set stands in class variables; what a person may choose is a
field with an :class:`Option`, which `lesionseg prepare` offers under the field's name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..prepared.records import CaseRecord, DataSetWarning, Origin, RejectedCase
from ..prepared.splits import split_prepared
from .target_channels import settle_targets

__all__ = ["Found", "Option", "Reader"]

Found = tuple[list[CaseRecord], list[RejectedCase]]
"""Cases to prepare, and files that do not become cases, each with its reason."""


@dataclass(frozen=True)
class Option:
    """How the command line offers a field of a reader; in the annotation of the field.

    Attributes
    ----------
    help, metavar : as typer takes them
    flag : name of the option, where it is not the field's
    given_as : type on the command line, where it is not the field's
    default : the field's default in that type
    parse : from what is given there to the field's value
    must_exist : the path, or every one of the paths, has to be there
    """

    help: str
    metavar: str | None = None
    flag: str | None = None
    given_as: Any = None
    default: Any = None
    parse: Callable[[Any], Any] = lambda given: given
    must_exist: bool = False


@dataclass(frozen=True, kw_only=True)
class Reader(ABC):
    """One data set's layout. What a subclass must say comes first; the rest has a default that fits most.

    Attributes
    ----------
    command : name of the subcommand of `lesionseg prepare`
    title : name of the data set, shown in model cards
    licence : what the person who uses it agreed to
    help : of the subcommand: a sentence that says what it is, then more, then an example
    source_help : what the folder is that is read
    unit : what a case is called where none can be used
    channels : images of a case, in the order in which a network takes them by default
    fractions : share of each split by default
    recipe : whose image processor and split the subcommand takes where no other is named
    recipe_help : what holds where no recipe is named
    label_help : of ``--label``; empty where a data set has no such choice
    takes_targets : whether its cases may have images to learn from besides the lesion
    generates : whether it makes its source itself
    resample_dwi : bring those that lie on another grid onto that of their case
    """

    command: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    source_help: ClassVar[str] = "Folder of the data set."
    licence: ClassVar[str] = "unknown"
    unit: ClassVar[str] = "cases"
    channels: ClassVar[tuple[str, ...]] = ("t1w",)
    fractions: ClassVar[Mapping[str, float]] = {"train": 0.6, "validation": 0.2, "test": 0.2}
    recipe: ClassVar[str | None] = None
    recipe_help: ClassVar[str] = ""
    label_help: ClassVar[str] = (
        "Value of the label that is lesion, if masks hold several labels; several with commas. Default: all above 0."
    )
    takes_targets: ClassVar[bool] = False
    generates: ClassVar[bool] = False
    resample_dwi: ClassVar[bool] = False

    @abstractmethod
    def find(self, source: str | Path, channels: Sequence[str] | None = None) -> Found:
        """Collect the cases of a folder by their names; no image is opened.

        Parameters
        ----------
        source : folder of the data set
        channels : images that a case must have; by default the reader's

        Returns
        -------
        records : in an order that depends on names only; ids are unique, scans of one person share their person
        rejected : files that do not become a case, each with its reason in one line

        Raises
        ------
        DataError
            Where ``source`` is not a folder, or holds nothing of this data set. One line, with the remedy.
        """

    def default_processor(self, source: str | Path | None = None):
        """The image processor for these scans where nobody names another."""
        from ...models.image_processing_lesion import LesionImageProcessor

        return LesionImageProcessor(channel_names=tuple(self.channels))

    def adapt(self, processor):
        """The image processor as this data set needs it; any other is left as it is."""
        return processor

    def describe(self, source: Path, records: Sequence[CaseRecord]) -> Origin:
        """Name and licence of what was found; some data sets tell them themselves."""
        return Origin(self.title, synthetic=False, licence=self.licence, source=source)

    def advice(self, rejected: Sequence[RejectedCase]) -> str:
        """Advice if no case can be used, added to the message; empty if the reason contains it."""
        return ""

    def is_failure(self, rejected: RejectedCase) -> bool:
        """Whether a case that `find` rejected makes the exit status 1: by default names that fit nothing do not."""
        return False

    def settle_targets(
        self, records: Sequence[CaseRecord], targets: Sequence[str], name: str
    ) -> tuple[list[CaseRecord], list[RejectedCase], tuple[str, ...]]:
        """Give the records the images to learn from; as `target_channels.settle_targets`."""
        return settle_targets(records, targets, name=name)

    def convert(
        self,
        records: Sequence[CaseRecord],
        output: Path,
        processor: Any,
        origin: Origin,
        *,
        workers: int,
        progress: bool,
    ) -> tuple[list[CaseRecord], list[RejectedCase], Origin]:
        """Bring files into a form that can be prepared, below ``output / "source"``; most are in one already.

        Returns
        -------
        records : of the files that were made
        failed : cases of which none could be
        origin : what is to be said of them
        """
        return list(records), [], origin

    def cautions(self, dataset: Any) -> list[DataSetWarning]:
        """What a person should know of a `PreparedDataset` before training on it."""
        return []

    def split(self, dataset: Any, fractions: Mapping[str, float], seed: int) -> None:
        """Split a `PreparedDataset`, and keep the split in its folder."""
        split_prepared(dataset, fractions, seed)
