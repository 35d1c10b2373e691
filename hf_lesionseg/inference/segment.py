"""Segment many cases with one network and write mask, lesions, preview and run record of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from ..errors import LesionSegError, UsageError
from ..imaging.folder_lock import locked_by_main
from ..models.mask_options import MaskOptions
from ..models.volume_geometry import VolumeError
from ..provenance import marks, of_network
from .backends import backend_of, network_for
from .case_input import CaseInput, parse_cases
from .case_outputs import CaseRun, output_files, refuse_existing, remove_outputs, try_output_folder
from .cohort import CaseSteps, reason_of, segment_in_turn
from .loading import LoadedModel, ModelSource
from .outcomes import CaseOutcome, SegmentationRun
from .pipeline import LesionSegmentationPipeline
from .processes import Processes
from .run_options import Computing, SeriesOptions

#: What may happen to outputs that are there already.
EXISTING = ("refuse", "overwrite", "keep")


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
        Precision, slices at once, equal bytes, whether several processes share the cases.
    series : SeriesOptions, optional
        How a raw perfusion series is read.
    existing : {"refuse", "overwrite", "keep"}
        Outputs that are there already: the run does not start; those of a case are removed before it is run; complete
        ones that were made from the same scan, network and settings are kept, others make the case fail.
    preview : bool
        Draw ``<stem>_preview.png``.
    on_case : callable, optional
        Called with the outcome of each case, in their order; of shared ones with those of this process.
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
    cases, output = parse_cases(inputs), Path(output)
    processes = Processes.find(getattr(model, "device", "auto")) if computing.shared else Processes()
    with locked_by_main(output, "lesionseg segment", processes):
        if existing == "refuse":
            refuse_existing(cases, output)
        if processes.is_main_process:
            try_output_folder(output)
        if not isinstance(model, LoadedModel) and (
            failed := _none_to_read(cases, on_case if processes.is_main_process else None)
        ):
            if existing != "keep":
                for case in cases:
                    remove_outputs(output_files(output, case.stem))
            return SegmentationRun(failed)
        loaded = _load(model, processes)
        for case in cases:
            case.check_names(loaded.processor.channel_names)
        settings = {**MaskOptions.of(loaded.processor, mask).to_dict(), **computing.settings(), **series.given()}
        network = network_for(loaded, computing)
        segmenter = LesionSegmentationPipeline(model=network, image_processor=loaded.processor, device=loaded.device)
        steps = CaseSteps(segmenter, computing, series, existing == "keep", preview, on_slices)
        backend = backend_of(network)
        runs = (
            CaseRun(case, loaded, settings, output_files(output, case.stem), backend=backend)
            for case in processes.share(cases)
        )
        processes.wait_for_all()  # another's first mask would be one that exists already
        outcomes = _told(segment_in_turn(runs, steps), on_case)
        notice = marks(of_network(loaded.model.config)).get("notice", "")
        return SegmentationRun(processes.gather(outcomes), notice)


def _told(turns, on_case):
    """The outcomes, each told as it comes."""
    outcomes = []
    with closing(turns):
        for outcome in turns:
            outcomes.append(outcome)
            if on_case is not None:
                on_case(outcome)
    return outcomes


def _load(model, processes):
    """The network of this process."""
    if isinstance(model, LoadedModel):
        return model
    source = model if isinstance(model, ModelSource) else ModelSource(model)
    return source.for_process(processes).load()


def _none_to_read(cases: list[CaseInput], on_case: Callable[[CaseOutcome], None] | None) -> list[CaseOutcome]:
    """The outcomes of cases none of which can be read, so that no network is fetched for them; else none."""
    outcomes = []
    for case in cases:
        try:
            case.look()
            return []
        except (LesionSegError, VolumeError) as error:
            outcomes.append(CaseOutcome(case.stem, case.text, "failed", reason_of(case, error), error))
    for outcome in outcomes if on_case is not None else []:
        on_case(outcome)
    return outcomes
