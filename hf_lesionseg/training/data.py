"""The data of one run: prepared cases by split, those of the data's own split or of one fold of a cross-validation."""

import warnings
from dataclasses import dataclass

from ..datasets.prepared.folds import Folds, folds_file, load_folds, make_folds, save_folds
from ..datasets.prepared.reading import PreparedCase, PreparedDataset
from ..datasets.readers.isles2018 import LeakageWarning, people_warning
from ..errors import DataError
from ..models.image_processing_lesion import LesionImageProcessor

_SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class TrainingData:
    """Prepared data as a run sees them.

    Attributes
    ----------
    dataset : PreparedDataset
    processor : LesionImageProcessor
        That the data were prepared with.
    splits : dict of str to list of str
        Case ids of each split.
    cases : dict of str to list of PreparedCase
        The cases of "train", "validation" and "test".
    fold : dict or None
        ``number``, ``of``, ``seed`` and ``fingerprint`` of the fold that is held out; None where the data's own split
        is used.
    """

    dataset: PreparedDataset
    processor: LesionImageProcessor
    splits: dict[str, list[str]]
    cases: dict[str, list[PreparedCase]]
    fold: dict | None = None


def load_data(arguments, *, write=True) -> TrainingData:
    """Open the prepared data that a run trains on.

    Parameters
    ----------
    arguments : TrainingArguments
        Arguments, of which ``data_dir``, ``fold`` and ``folds`` matter.
    write : bool
        Keep new folds with the data: for one process of a run.

    Raises
    ------
    DataError
        The folder holds no prepared data, or none for training or validation; or the data have fewer people than
        folds, or kept folds of other cases.
    """
    dataset = PreparedDataset(arguments.data_dir)
    splits, fold = _splits_of(arguments, dataset, write=write)
    wanted = {split: set(splits.get(split, ())) for split in _SPLITS}
    cases = {split: [case for case in dataset.cases if case.id in ids] for split, ids in wanted.items()}
    for split in ("train", "validation") if dataset.heads is None else ("validation",):
        if not cases[split]:
            raise DataError(f"{arguments.data_dir}: the split has no case for {split}; prepare more cases")
    return TrainingData(dataset, dataset.processor(), splits, cases, fold)


def _splits_of(arguments, dataset, *, write):
    """Case ids of each split of a run, and the record of its fold, None where the data's own split is used."""
    if arguments.fold is None:
        return dataset.splits(), None
    number = int(arguments.fold)
    if write and (message := people_warning(dataset.cases)):
        warnings.warn(message, LeakageWarning, stacklevel=3)
    folds = find_folds(arguments.data_dir, dataset.cases, arguments.folds, write=write)
    record = {"number": number, "of": len(folds), "seed": folds.seed, "fingerprint": folds.fingerprint()}
    return folds.splits(number), record


def find_folds(data_dir, cases, number, *, seed=0, write=True) -> Folds:
    """The folds that are kept with the prepared data; made, and kept there, where there are none yet."""
    path = folds_file(data_dir, number)
    if path.is_file():
        return load_folds(path, cases)
    folds = make_folds(cases, number, seed)
    if write:
        save_folds(path, folds)
    return folds
