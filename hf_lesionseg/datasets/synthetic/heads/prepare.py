"""``lesionseg prepare heads``: the catalogue, and fixed scans to choose by or to report on, in a prepared folder."""

from pathlib import Path

from ....errors import UsageError
from ....imaging.folder_lock import one_run_at_a_time
from ...prepared.reading import HEADS, SPLITS, PreparedDataset
from ...prepared.splits import Splits, save_splits
from ...prepared.writing import claim_output, prepare_cases
from .catalogue import CATALOGUE, HeadCatalogue, HeadSources, build_catalogue
from .catalogue import SPLITS as HEAD_SPLITS
from .volumes import find_heads, render_heads

__all__ = ["prepare_heads"]

NAME = "generated heads with strokes"
#: split of the catalogue -> split of the prepared folder
_PREPARED_AS = {"fit": "train", "choose": "validation", "report": "test"}


@one_run_at_a_time("lesionseg prepare")
def prepare_heads(
    sources: HeadSources | None,
    output: str | Path,
    processor,
    *,
    catalogue: str | Path | None = None,
    render: int = 36,
    split: str = "choose",
    seed: int = 0,
    spacing: tuple[float, float] | None = None,
    split_seed: int = 0,
    workers: int = 0,
    progress: bool = True,
) -> PreparedDataset:
    """Make or reuse a catalogue of heads and prepare ``render`` whole scans of one of its splits.

    Parameters
    ----------
    sources : HeadSources, or None to use a ``catalogue`` that is there
    output : of the prepared data; a catalogue that is made lies in its folder ``heads``
    processor : LesionImageProcessor
    catalogue : prepared folder that holds a catalogue, to render scans of; the output then has none of its own, so
        that nothing trains on it
    render : scans, a third of them without lesion
    split : "choose" for those that training validates on, "report" for one evaluation at the end
    seed : of the scans
    spacing : of the scans in-plane and between slices, mm; drawn for each by default
    split_seed : of the catalogue's split

    Returns
    -------
    PreparedDataset, marked synthetic

    Raises
    ------
    DataError
        As :func:`~.catalogue.build_catalogue` and :func:`~.volumes.render_heads`.
    UsageError
        Without sources or catalogue, or with both; for an unknown split.
    """
    output = Path(output)
    if (sources is None) == (catalogue is None):
        raise UsageError("give either sources of heads (--labels, --heads, --brains, --lesions) or --catalogue")
    if split not in HEAD_SPLITS:
        raise UsageError(f"split is {split!r}; give one of {', '.join(HEAD_SPLITS)}")
    claim_output(output, processor, name=NAME, synthetic=True)
    if catalogue is None:
        heads = build_catalogue(sources, output / HEADS, seed=split_seed, workers=workers, progress=progress)
    else:
        folder = Path(catalogue)
        heads = HeadCatalogue(folder if (folder / CATALOGUE).is_file() else folder / HEADS)
    source = render_heads(
        heads, output / "source", count=render, split=split, seed=seed, spacing=spacing, workers=workers,
        progress=progress,
    )  # fmt: skip
    dataset = prepare_cases(
        find_heads(source, split, render),
        output,
        processor,
        name=NAME,
        synthetic=True,
        licence="; ".join(f"{name}: {licence}" for name, licence in heads.licences().items()),
        source=source,
        workers=workers,
        progress=progress,
    )
    members = {name: [] for name in ("train", "validation", "test")}
    members[_PREPARED_AS[split]] = [case.id for case in dataset.cases]
    people = {name: len(each) for name, each in members.items()}
    shares = {name: count / len(dataset.cases) for name, count in people.items()}
    save_splits(output / SPLITS, Splits(members, people, shares, split_seed))
    return dataset
