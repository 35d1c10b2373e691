"""``lesionseg prepare heads``: the catalogue, and fixed scans to choose by or to report on, in a prepared folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ....errors import UsageError
from ...prepared.reading import HEADS
from ...prepared.records import CaseRecord, Origin
from ...prepared.splits import Splits, save_splits
from ...readers.reader import Found, Option
from ..generator import Generator
from .catalogue import CATALOGUE, HeadCatalogue, HeadSources, build_catalogue
from .catalogue import SPLITS as HEAD_SPLITS
from .volumes import find_heads, render_heads

__all__ = ["Heads"]

#: split of the catalogue -> split of the prepared folder
_PREPARED_AS = {"fit": "train", "choose": "validation", "report": "test"}


def _licences(given: Mapping | Sequence[str] | None) -> dict[str, str]:
    """Licence by source, of ``SOURCE=TEXT`` as the command line has them."""
    pairs = [each.partition("=") for each in given or ()]
    if not all(text for _, _, text in pairs):
        raise UsageError(f"--licence {list(given)}: give SOURCE=TEXT, such as masks.tar=CC0-1.0")
    return {name: text for name, _, text in pairs}


def _paths(help: str) -> Option:
    help += " Repeat the option for more files or folders."
    return Option(
        help, metavar="PATH", must_exist=True, given_as=list[Path] | None, parse=lambda given: tuple(given or ())
    )


@dataclass(frozen=True, kw_only=True)
class Heads(Generator):
    """A catalogue of heads, made or reused, and ``count`` whole scans of one of its splits.

    Attributes
    ----------
    labels, heads, brains, lesions, brain_masks, licences : what the catalogue is made of, see `HeadSources`; it lies in
        the folder ``heads`` of the prepared data
    catalogue : prepared folder that holds a catalogue, to render scans of; the prepared data then have none of their
        own, so that nothing trains on them
    count : scans, a third of them without lesion
    split : "choose" for those that training validates on, "report" for one evaluation at the end
    seed : of the scans
    spacing : of the scans in-plane and between slices, mm; drawn for each by default
    split_seed : of the catalogue's split
    """

    command = "heads"
    title = "generated heads with strokes"
    help = """Prepare heads with strokes, from which `lesionseg train` renders new slices as it goes.

    Anatomies and masks are real; contrast, age, the strokes' appearance and artefacts are made up. The command shares
    people out to three sets: fit, to train on; choose, to choose checkpoint and threshold by; and report, for one
    report at the end.

    `lesionseg prepare heads --labels maps --heads t1w --brains stripped --lesions masks.tar -o heads`

    `lesionseg prepare heads --catalogue heads --split report --render 100 -o report`
    """
    recipe = "clci-net-heads"

    labels: Annotated[Sequence[Path], _paths("Label maps of whole heads, FreeSurfer-like.")] = ()
    heads: Annotated[Sequence[Path], _paths("Real T1w scans of whole, healthy heads.")] = ()
    brains: Annotated[Sequence[Path], _paths("Real T1w scans of healthy brains, skull-stripped.")] = ()
    lesions: Annotated[Sequence[Path], _paths("Lesion masks in MNI space at 1 mm: folders or tar archives.")] = ()
    brain_masks: Annotated[
        Path | None,
        Option("Brain masks of the heads, by name. Default: the command makes them.", metavar="DIR", must_exist=True),
    ] = None
    licences: Annotated[
        Mapping[str, str],
        Option(
            "Licence of a source, by its name. Repeat the option for more sources.",
            metavar="SOURCE=TEXT",
            flag="--licence",
            given_as=list[str] | None,
            parse=_licences,
        ),
    ] = field(default_factory=dict)
    catalogue: Annotated[
        Path | None,
        Option(
            "Folder that this command made, to render scans from in place of sources.", metavar="DIR", must_exist=True
        ),
    ] = None
    count: Annotated[int, Option("Whole scans to render and prepare; a third has no stroke.", flag="--render")] = 36
    split_of_heads: Annotated[
        str,
        Option("Set whose heads to render: choose (to validate on), report or fit.", metavar="NAME", flag="--split"),
    ] = "choose"
    seed: Annotated[int, Option("Seed of the rendered scans.")] = 0
    spacing: Annotated[
        tuple[float, float] | None,
        Option(
            "Voxel size of the rendered scans in mm, in the slice and across slices. Default: drawn for each scan.",
            metavar="PIXEL SLICE",
        ),
    ] = None
    split_seed: Annotated[int, Option("Seed that shares people out to fit, choose and report.")] = 0

    @property
    def _has_sources(self) -> bool:
        return bool(self.labels or self.heads or self.brains or self.lesions)

    def check(self) -> None:
        """Either sources or a catalogue, and a split that there is."""
        if self._has_sources == (self.catalogue is not None):
            raise UsageError("give either sources of heads (--labels, --heads, --brains, --lesions) or --catalogue")
        if self.split_of_heads not in HEAD_SPLITS:
            raise UsageError(f"split is {self.split_of_heads!r}; give one of {', '.join(HEAD_SPLITS)}")

    def generate(self, output: Path, *, workers: int, progress: bool) -> Path:
        """Make the catalogue where none is given, and render scans into ``output / "source"``.

        Raises
        ------
        DataError
            As :func:`~.catalogue.build_catalogue` and :func:`~.volumes.render_heads`.
        """
        if self.catalogue is None:
            sources = HeadSources(
                self.labels, self.heads, self.brains, self.lesions, self.brain_masks, dict(self.licences)
            )
            build_catalogue(sources, output / HEADS, seed=self.split_seed, workers=workers, progress=progress)
        return render_heads(
            self._catalogue(output),
            output / "source",
            count=self.count,
            split=self.split_of_heads,
            seed=self.seed,
            spacing=self.spacing,
            workers=workers,
            progress=progress,
        )

    def _catalogue(self, output: Path) -> HeadCatalogue:
        folder = output if self.catalogue is None else Path(self.catalogue)
        return HeadCatalogue(folder if (folder / CATALOGUE).is_file() else folder / HEADS)

    def find(self, source: str | Path, channels: Sequence[str] | None = None) -> Found:
        """The first ``count`` scans of the split that are there."""
        return find_heads(Path(source), self.split_of_heads, self.count), []

    def describe(self, source: Path, records: Sequence[CaseRecord]) -> Origin:
        """With the licence of each source."""
        found = self._catalogue(source.parent).licences()
        licence = "; ".join(f"{name}: {each}" for name, each in found.items())
        return Origin(self.name, synthetic=True, licence=licence, source=source)

    def split(self, dataset: Any, fractions: Mapping[str, float], seed: int) -> None:
        """All scans into the split that the catalogue's is for: people were shared out there."""
        members = {name: [] for name in ("train", "validation", "test")}
        members[_PREPARED_AS[self.split_of_heads]] = [case.id for case in dataset.cases]
        people = {name: len(each) for name, each in members.items()}
        shares = {name: count / len(dataset.cases) for name, count in people.items()}
        save_splits(dataset.folder / "splits.json", Splits(members, people, shares, self.split_seed))
