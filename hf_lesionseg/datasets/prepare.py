"""Prepare a data set for training: find its cases, write their slices, split its people. One way for all readers."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import RejectedCasesError, UsageError
from ..imaging.folder_lock import one_run_at_a_time
from .prepared.reading import PreparedDataset
from .prepared.records import with_label
from .prepared.writing import claim_output, prepare_cases
from .readers.reader import Reader

__all__ = ["prepare"]


@one_run_at_a_time("lesionseg prepare")
def prepare(
    reader: Reader,
    source: str | Path | None,
    output: str | Path,
    *,
    processor=None,
    fractions: Mapping[str, float] | None = None,
    seed: int = 0,
    target_channels: Sequence[str] = (),
    label: str | None = None,
    workers: int = 0,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare a data set for training, and split it by person.

    Parameters
    ----------
    reader : of the data set, with its options
    source : folder of the data set; None where the reader generates the cases
    output : new folder, or one that an earlier call with the same settings began
    processor : LesionImageProcessor, whose channels are asked for; by default the reader's
    fractions : share of each split, by name; by default the reader's
    seed : of the split
    target_channels : images to learn from besides the lesion, such as "dwi"; none where no case has any, with a warning
    label : value of the label that is the lesion, or its name where the data set has names; several with commas; all
        values above 0 by default
    workers : processes; 0 works in this one
    progress : show progress bars

    Warns
    -----
    MissingTargetWarning
        Where no case has the targets that are asked for.
    DataSetWarning
        If the reader has a remark on the data set, such as a person who may be in two splits.

    Raises
    ------
    DataError
        Where ``source`` holds no usable case, or ``output`` something else.
    UsageError
        For options that do not go together.
    """
    output = Path(output)
    if target_channels and not reader.takes_targets:
        raise UsageError(f"{reader.title} has no {' and no '.join(target_channels)} to learn from besides the lesion")
    processor = reader.adapt(processor or reader.default_processor(source))
    if reader.generates:
        source = _generate(reader, source, output, processor, target_channels, workers=workers, progress=progress)
    source = Path(source)
    records, rejected = reader.find(source, tuple(processor.channel_names))
    origin = reader.describe(source, records)
    records, without, targets = reader.settle_targets(records, target_channels, origin.name)
    rejected = [*rejected, *without]
    if not records:
        raise _nothing_usable(reader, source, rejected)
    if label is not None:
        records, origin = with_label(records, label, source), replace(origin, name=f"{origin.name} ({label})")
    records, failed, origin = reader.convert(records, output, processor, origin, workers=workers, progress=progress)
    rejected = [*rejected, *failed]
    if not records:
        first = failed[0]
        raise RejectedCasesError(f"{origin.name}: no case could be prepared; {first.path}: {first.reason}", rejected)
    dataset = prepare_cases(
        records,
        output,
        processor,
        origin,
        rejected=rejected,
        target_channels=targets,
        resample_targets=reader.resample_dwi,
        workers=workers,
        progress=progress,
    )
    reader.split(dataset, reader.fractions if fractions is None else fractions, seed)
    for caution in reader.cautions(dataset):
        warnings.warn(caution, stacklevel=3)
    return dataset


def _generate(reader: Reader, source, output: Path, processor, target_channels, **pace) -> Path:
    """Mark the output as this data set's, and have the cases made in it."""
    if source is not None:
        raise UsageError(f"{source}: {reader.title} are generated; leave the source out")
    reader.check()
    claim_output(output, processor, name=reader.name, synthetic=True, target_channels=target_channels)
    return reader.generate(output, **pace)


def _nothing_usable(reader: Reader, source: Path, rejected) -> RejectedCasesError:
    first, advice = rejected[0], reader.advice(rejected)
    reason = f"none of its {len(rejected)} {reader.unit} can be used, {first.path}: {first.reason}"
    return RejectedCasesError(f"{source}: {reason}{advice and '; '}{advice}", rejected)
