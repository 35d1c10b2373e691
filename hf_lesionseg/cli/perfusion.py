"""``lesionseg perfusion``: maps of a raw CT perfusion series."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .app import app
from .progress import progress_bar

_INPUT, _METHOD = "Input", "Method"


@app.command()
def perfusion(
    series: Annotated[
        Path, typer.Argument(metavar="SERIES", help="4-D NIfTI file of CT perfusion, in HU.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the maps.", show_default=False)
    ],
    frame_seconds: Annotated[
        float | None,
        typer.Option(
            help="Seconds from frame to frame; default: as the header says, else 1. Above 1.25 flow comes out too low.",
            rich_help_panel=_INPUT,
            show_default=False,
        ),
    ] = None,
    trust_frame_order: Annotated[
        bool,
        typer.Option(
            "--trust-frame-order",
            help="Take frames as they are, also where the curve over time is not that of a bolus.",
            rich_help_panel=_INPUT,
        ),
    ] = False,
    brain: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Mask of the brain with its vessels, on the grid of the series; found without.",
            rich_help_panel=_INPUT,
            show_default=False,
        ),
    ] = None,
    arterial_input: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Mask of an artery, on the grid of the series; found without.",
            rich_help_panel=_INPUT,
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Drop singular values below this share of the largest, the same for all voxels; by default each "
            "voxel's own, by its oscillation.",
            rich_help_panel=_METHOD,
            show_default=False,
        ),
    ] = None,
    oscillation_index: Annotated[
        float, typer.Option(help="Largest oscillation of a residue function.", rich_help_panel=_METHOD)
    ] = 0.06,
    smoothing_mm: Annotated[
        float,
        typer.Option(help="Standard deviation of the Gaussian within slices, mm; 0 for none.", rich_help_panel=_METHOD),
    ] = 2.0,
    tail_seconds: Annotated[
        float,
        typer.Option(
            help="Time constant with which curves fall after the last frame, s; 0 for none.", rich_help_panel=_METHOD
        ),
    ] = 12.0,
    venous_scaling: Annotated[
        bool,
        typer.Option(
            help="Raise the arterial input to the area of the venous curve, where that is larger.",
            rich_help_panel=_METHOD,
        ),
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier maps.")] = False,
) -> None:
    """Make CBF, CBV, MTT and Tmax from a raw CT perfusion series.

    NAME_cbf.nii.gz (mL/100 g/min), NAME_cbv.nii.gz (mL/100 g), NAME_mtt.nii.gz and NAME_tmax.nii.gz (s) on the grid of
    the series, NAME_perfusion.png with the arterial input and the frames of the first pass, NAME_perfusion.json with
    all numbers. Look at the picture before you believe the maps.

    `lesionseg perfusion ctp.nii.gz -o maps`
    """
    from ..imaging import PerfusionOptions
    from ..inference.perfusion_maps import write_perfusion_maps

    try:
        options = PerfusionOptions(
            regularization="oscillation" if threshold is None else "threshold",
            threshold=PerfusionOptions.threshold if threshold is None else threshold,
            oscillation_index=oscillation_index,
            smoothing_mm=smoothing_mm,
            tail_seconds=tail_seconds,
            venous_scaling=venous_scaling,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    with progress_bar("reading") as update:
        files = write_perfusion_maps(
            series,
            output,
            frame_seconds=frame_seconds,
            trust_frame_order=trust_frame_order,
            brain=brain,
            arterial_input=arterial_input,
            options=options,
            overwrite=overwrite,
            progress=update,
        )
    _tell(files)


def _tell(files: dict[str, Path]) -> None:
    """Print what was found in brief, and where the files are."""
    record = json.loads(files["record"].read_text("utf-8"))
    for warning in record["warnings"]:
        print("warning:", warning, file=sys.stderr)
    artery, first = record["arterial_input"], record["first_pass"]
    x, y, z = artery["centre_mm"]
    print(f"arterial input: {len(artery['voxels'])} voxels, centred at ({x:.0f}, {y:.0f}, {z:.0f}) mm, ", end="")
    print(f"{artery['peak_hu']:.0f} HU at {artery['peak_seconds']:.1f} s")
    seconds = record["frame_seconds"]
    print(f"first pass: {first['onset'] * seconds:.1f} to {first['end'] * seconds:.1f} s, ", end="")
    print(f"peak at {first['peak'] * seconds:.1f} s")
    print("median of the brain:", ", ".join(
        f"{name} {value:.1f} {record['units'][name]}" for name, value in record["median_of_brain"].items()
    ))  # fmt: skip
    for path in files.values():
        print(path)
