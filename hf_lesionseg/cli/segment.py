"""``lesionseg segment``: masks for many cases."""

import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import LesionSegError, UsageError
from ..pretrained import DEFAULT, packaged_model
from .app import app
from .mask import mask_option, mask_options
from .paths import complete_models, existing
from .progress import progress_bar

_NETWORK, _RUN = "Network", "Run"
_SAVED = "Default: as saved with the network."


def _network(text: str, *flags: str, **settings: Any) -> Any:
    return typer.Option(*flags, help=text, rich_help_panel=_NETWORK, show_default=False, **settings)


def _run(text: str, *flags: str, **settings: Any) -> Any:
    return typer.Option(*flags, help=text, rich_help_panel=_RUN, **settings)


@app.command()
def segment(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Cases to segment. Each INPUT is one case: a scan (.nii.gz, .nii, .hdr/.img, .mgz, .mgh, .nrrd, "
            ".mha), a folder with one scan per channel, or tmax=a.nii.gz,cbf=b.nii.gz with the names of the network's "
            "channels. A network of CT perfusion also takes the raw 4-D series, as a file or as ctp=series.nii.gz "
            "(with brain=mask.nii.gz), and makes from it the maps and frames that you do not give.",
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
            metavar="NETWORK",
            help="Network: a folder, the name of a packaged one (`lesionseg models`), or a Hub id (org/name).",
            show_default=DEFAULT,
            autocompletion=complete_models,
        ),
    ] = None,
    revision: Annotated[str | None, _network("Branch, tag or commit on the Hub.", metavar="NAME")] = None,
    token: Annotated[str | None, _network("Hub token. Default: the one of `hf auth login`.", metavar="TOKEN")] = None,
    trust_remote_code: Annotated[
        bool,
        _network(
            "Run the code that a repository brings for a network that is not in this package. Read the code first.",
            "--trust-remote-code",
        ),
    ] = False,
    threshold: Annotated[
        float | None,
        mask_option(f"Probability above which a voxel is lesion, 0 to 1. {_SAVED}", metavar="PROBABILITY"),
    ] = None,
    minimum_lesion_ml: Annotated[
        float | None, mask_option(f"Volume in mL below which a lesion is dropped. {_SAVED}", metavar="ML")
    ] = None,
    keep_largest: Annotated[
        int | None,
        mask_option(f"Number of largest lesions (26-connected) to keep; 0 keeps all. {_SAVED}", metavar="N"),
    ] = None,
    median_filter: Annotated[
        int | None,
        mask_option(
            f"Side of the median filter that smooths each slice of the mask, in voxels (3, 5, ...); 0 smooths "
            f"nothing. {_SAVED}",
            metavar="N",
        ),
    ] = None,
    frame_seconds: Annotated[
        float | None,
        _run(
            "Seconds from frame to frame of a raw perfusion series. Default: as its header says, else 1.",
            metavar="SECONDS",
        ),
    ] = None,
    trust_frame_order: Annotated[
        bool,
        _run(
            "Take the frames of a raw perfusion series in their order, even if their curve is not a bolus.",
            "--trust-frame-order",
        ),
    ] = False,
    overwrite: Annotated[
        bool, _run("Replace earlier results. A case's old results go before it is run.", "--overwrite")
    ] = False,
    skip_existing: Annotated[
        bool, _run("Keep results that were made from the same scan, network and settings.", "--skip-existing")
    ] = False,
    device: Annotated[str, _run("Where to compute: auto, cpu, cuda or cuda:N.", metavar="NAME")] = "auto",
    precision: Annotated[
        str, _run("Precision of the network: float32, bfloat16 or float16.", metavar="NAME")
    ] = "float32",
    batch_size: Annotated[
        int | None,
        _run(
            "Slices at once. Default: 4 on a CPU, 32 on a GPU. The command halves it when memory runs out.",
            metavar="N",
        ),
    ] = None,
    backend: Annotated[
        str,
        _run("What computes: torch, or onnxruntime with a --model that `lesionseg export` wrote.", metavar="NAME"),
    ] = "torch",
    compile: Annotated[
        bool,
        _run("Compile the network first. That takes minutes once: for many cases.", "--compile"),
    ] = False,
    deterministic: Annotated[bool, _run("Make equal bytes on every run.", "--deterministic")] = False,
    memory_format: Annotated[
        str, _run("Memory format: auto (the fastest), contiguous or channels-last.", metavar="FORMAT")
    ] = "auto",
) -> None:
    """Segment the lesions of scans.

    The packaged network segments chronic stroke on T1w scans; other networks come from your training or the Hub. For
    every INPUT the command writes NAME_mask.nii.gz on the grid of the scan, NAME_lesions.json (volumes in mL, centres
    in mm), NAME_preview.png and NAME_record.json. A case that fails leaves none of them, and the others go on.

    `lesionseg segment t1.nii.gz -o out`

    `lesionseg segment sub-01_T1w.nii.gz sub-02_T1w.nii.gz --model org/clci-net -o results`
    """
    if overwrite and skip_existing:
        raise UsageError("--overwrite and --skip-existing exclude each other; give one")
    _require(inputs)
    mask = mask_options(
        threshold=threshold,
        minimum_lesion_ml=minimum_lesion_ml,
        keep_largest=keep_largest,
        median_filter=median_filter,
    )
    from ..inference import Computing, SeriesOptions
    from ..inference.backends import source_for
    from ..inference.processes import is_first_process

    network = source_for(backend)(model or packaged_model(), revision, token, device, trust_remote_code)
    run = _segment(
        inputs,
        network,
        output,
        mask=mask,
        computing=Computing(precision, batch_size, deterministic, compile, memory_format, shared=True),
        series=SeriesOptions(frame_seconds, trust_frame_order),
        existing="overwrite" if overwrite else "keep" if skip_existing else "refuse",
    )
    if is_first_process():  # of several, it alone shows what all do
        _print_run(run, output, compiled=compile)
    raise typer.Exit(run.exit_status)


def _require(inputs: list[str]) -> None:
    """Refuse inputs that are not there, before torch is loaded."""
    from ..inference.case_input import parse_cases

    for case in parse_cases(inputs):
        for path in case.channels.values() or [case.path]:
            existing(path)


def _segment(inputs: list[str], network: Any, output: Path, **options: Any) -> Any:
    """Segment behind a bar."""
    from transformers.utils.logging import disable_progress_bar

    from ..inference import segment_cases
    from ..inference.processes import is_first_process

    disable_progress_bar()  # "Loading weights" is over before it can be read
    with progress_bar("loading the network", "slices") if is_first_process() else nullcontext() as on_slices:
        return segment_cases(inputs, network, output, **options, on_case=_tell, on_slices=on_slices)


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


def _print_run(run, output: Path, *, compiled: bool) -> None:
    _print_table(run, output)
    if compiled:
        print(f"Compiling took {sum(outcome.compile_seconds for outcome in run.outcomes):.1f} s of this.")
    if run.notice:
        print(run.notice)


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
