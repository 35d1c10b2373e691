"""Cases one after the other through one network, at the network's speed.

While the network runs on a case, a thread reads the next one and another writes the one before. So at most three cases
are in memory, and the network waits for nothing but a case that takes longer to read than to compute.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import LesionSegError
from ..imaging.file_identity import scan_sha256
from ..models.mask_options import MASK_DEFAULTS
from ..models.volume_geometry import VolumeError
from .backends import tell_compiling_apart
from .background import Background, warnings_by_work, work
from .case_input import CaseInput
from .case_outputs import CaseRun, keep_outputs, remove_outputs, write_outputs
from .outcomes import CaseOutcome
from .perfusion_input import read_case
from .pipeline import LesionSegmentationPipeline
from .run_options import Computing, SeriesOptions


@dataclass(frozen=True)
class CaseSteps:
    """What is done with each case of a run.

    Attributes
    ----------
    segmenter : LesionSegmentationPipeline
    computing : Computing
    series : SeriesOptions
    keep : bool
        Outputs that are there already are kept, or make their case fail; else they are removed when its turn comes.
    preview : bool
        Draw the picture.
    on_slices : callable, optional
        Called with (case, slices done, slices to do).
    """

    segmenter: LesionSegmentationPipeline
    computing: Computing
    series: SeriesOptions
    keep: bool = False
    preview: bool = True
    on_slices: Callable[[str, int, int], None] | None = None

    def read(self, run: CaseRun) -> dict | CaseOutcome:
        """What the network takes of a case; its outcome, where it need not run."""
        channel_names, clock = run.loaded.processor.channel_names, run.clock
        run.files = run.case.files(channel_names)
        with work(run.told):
            with clock.stage("read"):
                run.input_sha256 = {channel: scan_sha256(path) for channel, path in run.files.items()}
                if self.keep and any(path.exists() for path in run.targets.values()):
                    return keep_outputs(run)
                run.read = read_case(run.files, channel_names, **self.series.given())
            with clock.stage("preprocess"):
                return self.segmenter.preprocess(run.read)

    def predict(self, run: CaseRun, prepared: dict) -> dict:
        """Run the network."""
        progress = None if self.on_slices is None else partial(self.on_slices, run.case.stem)
        with work(run.told), run.clock.stage("network"):
            predicted = self.segmenter.forward(
                prepared, batch_size=self.computing.batch_size, progress=progress, **self.computing.numerics()
            )
        tell_compiling_apart(self.segmenter.model, run.clock.seconds)
        return predicted

    def write(self, run: CaseRun, predicted: dict) -> CaseOutcome:
        """Make the mask and write all outputs, or none."""
        with work(run.told):
            with run.clock.stage("postprocess"):
                mask = {name: run.settings[name] for name in MASK_DEFAULTS}
                result = self.segmenter.postprocess(predicted, **mask)
            predicted.clear()  # the volume of probabilities; the caller's frame keeps the dictionary
            told = tuple(dict.fromkeys([*result["warnings"], *run.told]))
            made, told = write_outputs(run, result, told, preview=self.preview)
        return CaseOutcome(
            run.case.stem,
            run.case.text,
            "done",
            files=made,
            n_lesions=len(result["lesions"]),
            total_volume_ml=result["total_volume_ml"],
            seconds=sum(run.clock.seconds.values()),
            compile_seconds=run.clock.seconds.get("compile", 0.0),
            warnings=told,
            flags=tuple(result["flags"]),
        )


def segment_in_turn(runs: Iterable[CaseRun], steps: CaseSteps) -> Iterator[CaseOutcome]:
    """Yield the outcomes of all cases in their order; whatever goes wrong in one does not cost the others.

    Where the iteration is broken off, as by Ctrl-C, the case that is being written is finished, and the one that is
    being read is dropped.
    """
    runs, writing = iter(runs), None  # one by one: each holds its scans
    with warnings_by_work():
        try:
            following, reading = _read_next(runs, steps)
            while following is not None:
                run = following
                found = _attempt(run, _in_its_turn, run, reading, steps)
                following, reading = _read_next(runs, steps)
                if not isinstance(found, CaseOutcome):
                    found = _attempt(run, steps.predict, run, found)
                if writing is not None:
                    outcome, writing = writing.result(), None
                    yield outcome
                if isinstance(found, CaseOutcome):
                    yield found
                else:
                    writing = Background(_attempt, run, steps.write, run, found)
                found = None  # not a second volume beside that of the next case
            if writing is not None:
                yield writing.result()
        finally:
            if writing is not None:
                writing.wait()


def _read_next(runs, steps):
    """Begin to read the next case; (it, the reading), both None behind the last."""
    run = next(runs, None)
    return run, None if run is None else Background(_attempt, run, steps.read, run)


def _in_its_turn(run, reading, steps):
    """What was read of a case whose turn has come.

    Whatever came of it, its earlier outputs go: if the case fails, an old mask must not stand there as if it were new.
    """
    try:
        return reading.result()
    finally:
        if not steps.keep:
            remove_outputs(run.targets)


def _attempt(run: CaseRun, function: Callable, *arguments: Any) -> Any:
    """What the function returns, or the outcome of a case that failed in it."""
    try:
        return function(*arguments)
    # Whatever goes wrong in one case must not cost the others; the reason is kept, and the error with it.
    except Exception as error:
        # The error would keep its frames, and they the volumes, until the end of the run.
        traceback.clear_frames(error.__traceback__)
        run.read = arguments = None
        return CaseOutcome(run.case.stem, run.case.text, "failed", reason_of(run.case, error), error)


def reason_of(case: CaseInput, error: Exception) -> str:
    """Why a case failed, in a line that names it."""
    if isinstance(error, LesionSegError):
        return str(error)
    if isinstance(error, VolumeError):
        return str(error) if case.text in str(error) else f"{case.text}: {error}"
    return f"{case.text}: unexpected {type(error).__name__}: {error}"
