"""Segment many cases with one network and write mask, lesions, preview and run record of each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import LesionSegError, UsageError
from ..imaging.file_identity import scan_sha256
from ..imaging.folder_lock import one_run_at_a_time
from ..models.mask_options import MASK_DEFAULTS, MaskOptions
from ..models.volume_geometry import VolumeError
from ..provenance import marks, of_network
from .backends import backend_of, network_for, tell_compiling_apart
from .case_input import CaseInput, parse_cases
from .case_outputs import (
    CaseRun,
    keep_outputs,
    output_files,
    refuse_existing,
    remove_outputs,
    try_output_folder,
    write_outputs,
)
from .loading import LoadedModel, ModelSource
from .outcomes import CaseOutcome, SegmentationRun
from .perfusion_input import read_case
from .pipeline import LesionSegmentationPipeline
from .run_options import Computing, SeriesOptions

#: What may happen to outputs that are there already.
EXISTING = ("refuse", "overwrite", "keep")


@one_run_at_a_time("lesionseg segment")
def segment_cases(
    inputs: Iterable,
    model: str | Path | ModelSource | LoadedModel,
    output: str | Path,
    *,
    mask: MaskOptions | None = None,
    computing: Computing | None = None,
    series: SeriesOptions | None = None,
    existing: str = "refuse",
    preview: bool = True,
    on_case: Callable[[CaseOutcome], None] | None = None,
    on_slices: Callable[[str, int, int], None] | None = None,
) -> SegmentationRun:
    """Segment cases; one that fails leaves no output and the others go on.

    Parameters
    ----------
    inputs : iterable of path, str or dict
        Each is one case, see :func:`~hf_lesionseg.inference.case_input.parse_case`.
    model : str, Path, ModelSource or LoadedModel
        Folder, name of a packaged network, or Hub id; loaded once for all cases. A
        :class:`~hf_lesionseg.inference.loading.ModelSource` also says which revision and which device.
    output : path
        Folder for ``<stem>_mask.nii.gz``, ``<stem>_lesions.json``, ``<stem>_preview.png``, ``<stem>_record.json``.
    mask : MaskOptions, optional
        How probabilities become a mask; what it leaves open is as saved with the network.
    computing : Computing, optional
        Precision, slices at once, equal bytes.
    series : SeriesOptions, optional
        How a raw perfusion series is read.
    existing : {"refuse", "overwrite", "keep"}
        Outputs that are there already: the run does not start; those of a case are removed before it is run; complete
        ones that were made from the same scan, network and settings are kept, others make the case fail.
    preview : bool
        Draw ``<stem>_preview.png``.
    on_case : callable, optional
        Called with the outcome of each case as it ends.
    on_slices : callable, optional
        Called with (case, slices done, slices to do).

    Returns
    -------
    SegmentationRun

    Raises
    ------
    UsageError
        Two inputs of the same stem, or outputs that are there already. Nothing was written.
    FolderInUseError
        Another run writes into the output folder.
    ModelError
        The network cannot be loaded.
    OutputError
        The output folder cannot be made or written to.
    """
    if existing not in EXISTING:
        raise UsageError(f"existing={existing!r} is unknown; use {', '.join(EXISTING)}")
    computing, series = computing or Computing(), series or SeriesOptions()
    cases = parse_cases(inputs)
    output = Path(output)
    if existing == "refuse":
        refuse_existing(cases, output)
    try_output_folder(output)
    loaded = model
    if not isinstance(model, LoadedModel):
        if failed := _none_to_read(cases, on_case):
            if existing != "keep":
                for case in cases:
                    remove_outputs(output_files(output, case.stem))
            return SegmentationRun(failed)
        loaded = (model if isinstance(model, ModelSource) else ModelSource(model)).load()
    for case in cases:
        case.check_names(loaded.processor.channel_names)
    settings = {**MaskOptions.of(loaded.processor, mask).to_dict(), **computing.settings(), **series.given()}
    network = network_for(loaded, computing)
    segmenter = LesionSegmentationPipeline(model=network, image_processor=loaded.processor, device=loaded.device)
    outcomes = []
    for case in cases:
        progress = None if on_slices is None else (lambda done, total, stem=case.stem: on_slices(stem, done, total))
        run = CaseRun(case, loaded, settings, output_files(output, case.stem), backend=backend_of(network))
        try:
            if existing != "keep":
                # First of all: if the case fails, its earlier mask must not stand there as if it were the new one.
                remove_outputs(run.targets)
            outcome = _segment_case(run, segmenter, computing, series, preview, progress)
        # Whatever goes wrong in one case must not cost the others; the reason is kept, and the error with it.
        except Exception as error:
            outcome = CaseOutcome(case.stem, case.text, "failed", _reason(case, error), error)
        outcomes.append(outcome)
        if on_case is not None:
            on_case(outcome)
    return SegmentationRun(outcomes, marks(of_network(loaded.model.config)).get("notice", ""))


def _none_to_read(cases: list[CaseInput], on_case: Callable[[CaseOutcome], None] | None) -> list[CaseOutcome]:
    """The outcomes of cases none of which can be read, so that no network is fetched for them; else none."""
    outcomes = []
    for case in cases:
        try:
            case.look()
            return []
        except (LesionSegError, VolumeError) as error:
            outcomes.append(CaseOutcome(case.stem, case.text, "failed", _reason(case, error), error))
    for outcome in outcomes if on_case is not None else []:
        on_case(outcome)
    return outcomes


def _reason(case: CaseInput, error: Exception) -> str:
    if isinstance(error, LesionSegError):
        return str(error)
    if isinstance(error, VolumeError):
        return str(error) if case.text in str(error) else f"{case.text}: {error}"
    return f"{case.text}: unexpected {type(error).__name__}: {error}"


def _segment_case(run, segmenter, computing, series, preview, progress) -> CaseOutcome:
    """Run one case; outputs that are there are kept, or make it fail."""
    channel_names, clock = run.loaded.processor.channel_names, run.clock
    run.files = run.case.files(channel_names)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with clock.stage("read"):
            run.input_sha256 = {channel: scan_sha256(path) for channel, path in run.files.items()}
            if any(path.exists() for path in run.targets.values()):
                return keep_outputs(run)
            run.read = read_case(run.files, channel_names, **series.given())
        with clock.stage("preprocess"):
            prepared = segmenter.preprocess(run.read)
        with clock.stage("network"):
            predicted = segmenter.forward(
                prepared, batch_size=computing.batch_size, progress=progress, **computing.numerics()
            )
        tell_compiling_apart(segmenter.model, clock.seconds)
        del prepared
        with clock.stage("postprocess"):
            result = segmenter.postprocess(predicted, **{name: run.settings[name] for name in MASK_DEFAULTS})
        del predicted
    told = tuple(dict.fromkeys([*result["warnings"], *(str(warning.message) for warning in caught)]))
    made, told = write_outputs(run, result, told, preview=preview)
    return CaseOutcome(
        run.case.stem,
        run.case.text,
        "done",
        files=made,
        n_lesions=len(result["lesions"]),
        total_volume_ml=result["total_volume_ml"],
        seconds=sum(clock.seconds.values()),
        compile_seconds=clock.seconds.get("compile", 0.0),
        warnings=told,
        flags=tuple(result["flags"]),
    )
