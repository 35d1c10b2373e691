"""``lesionseg segment``: masks for many cases."""

import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LesionSegError, UsageError
from ..pretrained import DEFAULT, packaged_model
from .app import app
from .mask import mask_options
from .progress import progress_bar

_NETWORK, _MASK, _RUN = "Network", "Mask", "Run"


@app.command()
def segment(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="One case each: a scan (.nii.gz, .nii, .hdr/.img, .mgz, .mgh, .nrrd, .mha), a folder with one scan "
            "per channel, or tmax=a.nii.gz,cbf=b.nii.gz by the names of the network's channels. For a network of CT "
            "perfusion also the raw 4-D series, as a file or as ctp=series.nii.gz (with brain=mask.nii.gz): maps and "
            "frames that are not given are made from it.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results.", show_default=False)
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Network: a folder, the name of a packaged one (`lesionseg models`), or a Hub id (org/name).",
            show_default=DEFAULT,
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(help="Branch, tag or commit on the Hub.", rich_help_panel=_NETWORK, show_default=False),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            help="Hub token; default: the one of `hf auth login`.", rich_help_panel=_NETWORK, show_default=False
        ),
    ] = None,
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust-remote-code",
            help="Run the code of a repository whose network is not in this package. Read it first.",
            rich_help_panel=_NETWORK,
        ),
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Probability (0 to 1) above which a voxel is lesion; default: as saved with the network.",
            rich_help_panel=_MASK,
            show_default=False,
        ),
    ] = None,
    minimum_lesion_ml: Annotated[
        float | None,
        typer.Option(
            help="Drop lesions below this volume in mL; default: as saved with the network.",
            rich_help_panel=_MASK,
            show_default=False,
        ),
    ] = None,
    keep_largest: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Keep the N largest lesions (26-connected) only, 0 all; default: as saved with the network.",
            rich_help_panel=_MASK,
            show_default=False,
        ),
    ] = None,
    median_filter: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Smooth each slice of the mask by a median filter of N x N voxels (3, 5, ...), 0 for none; default: "
            "as saved with the network.",
            rich_help_panel=_MASK,
            show_default=False,
        ),
    ] = None,
    frame_seconds: Annotated[
        float | None,
        typer.Option(
            help="Seconds from frame to frame of a raw perfusion series; default: as its header says, else 1.",
            rich_help_panel=_RUN,
            show_default=False,
        ),
    ] = None,
    trust_frame_order: Annotated[
        bool,
        typer.Option(
            "--trust-frame-order",
            help="Take frames of a raw perfusion series as they are, also where their curve is not that of a bolus.",
            rich_help_panel=_RUN,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace earlier results; they are removed before their case is run.",
            rich_help_panel=_MASK,
        ),
    ] = False,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing",
            help="Keep results that were made from the same scan, network and settings.",
            rich_help_panel=_MASK,
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=_RUN)] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16 or float16 for the network.", rich_help_panel=_RUN)
    ] = "float32",
    batch_size: Annotated[
        int | None,
        typer.Option(
            help="Slices at once; default: 4 on a CPU, 32 on a GPU; halved where memory runs out.",
            rich_help_panel=_RUN,
            show_default=False,
        ),
    ] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="Equal bytes on every run.", rich_help_panel=_RUN)
    ] = False,
    memory_format: Annotated[
        str, typer.Option(help="auto (the fastest), contiguous or channels-last.", rich_help_panel=_RUN)
    ] = "auto",
) -> None:
    """Segment the lesions of scans: T1w ones of chronic stroke with the packaged network, others with yours.

    For every INPUT: NAME_mask.nii.gz on the grid of the scan, NAME_lesions.json (volumes in mL, centres in mm),
    NAME_preview.png and NAME_record.json. A case that fails leaves none of them and the others go on.

    `lesionseg segment t1.nii.gz -o out`

    `lesionseg segment sub-01_T1w.nii.gz sub-02_T1w.nii.gz --model org/clci-net -o results`
    """
    from transformers.utils.logging import disable_progress_bar

    from ..inference import Computing, ModelSource, SeriesOptions, segment_cases
    from ..inference.processes import is_first_process

    if overwrite and skip_existing:
        raise UsageError("overwrite and skip-existing exclude each other; give one")
    options = {
        "mask": mask_options(
            threshold=threshold,
            minimum_lesion_ml=minimum_lesion_ml,
            keep_largest=keep_largest,
            median_filter=median_filter,
        ),
        "computing": Computing(precision, batch_size, deterministic, memory_format, shared=True),
        "series": SeriesOptions(frame_seconds, trust_frame_order),
        "existing": "overwrite" if overwrite else "keep" if skip_existing else "refuse",
    }
    network = ModelSource(model or packaged_model(), revision, token, device, trust_remote_code)
    disable_progress_bar()  # "Loading weights" is over before it can be read
    first = is_first_process()  # of several, it alone shows what all do
    with progress_bar("loading the network", "slices") if first else nullcontext() as on_slices:
        run = segment_cases(inputs, network, output, **options, on_case=_tell, on_slices=on_slices)
    if first:
        _print_table(run, output)
        if run.notice:
            print(run.notice)
    raise typer.Exit(run.exit_status)


def _tell(outcome) -> None:
    """Say at once what went wrong or deserves a look; a traceback only where we did not foresee the error."""
    severity = {flag["sentence"]: flag["severity"] for flag in outcome.flags}
    for warning in outcome.warnings:
        print(f"{severity.get(warning, 'warning')}: {outcome.case}: {warning}", file=sys.stderr)
    if outcome.status == "failed":
        print("error:", outcome.reason.replace("\n", " "), file=sys.stderr)
        from ..models.volume_geometry import VolumeError

        if not isinstance(outcome.error, (LesionSegError, VolumeError)):
            traceback.print_exception(outcome.error)


def _print_table(run, output: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    styles = {"done": "green", "kept": "cyan", "failed": "bold red"}
    table = Table(title=f"{len(run.outcomes) - len(run.failed)} of {len(run.outcomes)} cases in {output}")
    table.add_column("case", overflow="fold")
    table.add_column("status")
    for name in ("lesions", "mL", "seconds"):
        table.add_column(name, justify="right")
    if run.failed:
        table.add_column("why", overflow="fold", ratio=1)
    for outcome in run.outcomes:
        numbers = ("–", "–", "–")
        if outcome.status != "failed":
            seconds = f"{outcome.seconds:.1f}" if outcome.status == "done" else "–"
            numbers = (str(outcome.n_lesions), f"{outcome.total_volume_ml:.2f}", seconds)
        # Text, since a name like case[1] would be read as markup.
        row = [Text(outcome.case), Text(outcome.status, style=styles[outcome.status]), *numbers]
        table.add_row(*row, *([Text(outcome.reason or "")] if run.failed else []))
    Console().print(table)
