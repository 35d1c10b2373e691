"""``lesionseg perfusion``: maps of a raw CT perfusion series."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from .app import app
from .paths import existing_file
from .progress import progress_bar

_INPUT, _METHOD = "Input", "Method"


def _input(text: str, *flags: str, **settings: Any) -> Any:
    return typer.Option(*flags, help=text, rich_help_panel=_INPUT, show_default=False, **settings)


def _method(text: str, *flags: str, **settings: Any) -> Any:
    return typer.Option(*flags, help=text, rich_help_panel=_METHOD, **settings)


@app.command()
def perfusion(
    series: Annotated[
        Path,
        typer.Argument(
            metavar="SERIES",
            help="CT perfusion series in HU: a 4-D NIfTI file.",
            show_default=False,
            callback=existing_file,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the maps.", show_default=False)
    ],
    frame_seconds: Annotated[
        float | None,
        _input(
            "Seconds from frame to frame. Default: as the header says, else 1. Above 1.25 the flow comes out too low.",
            metavar="SECONDS",
        ),
    ] = None,
    trust_frame_order: Annotated[
        bool, _input("Take the frames in their order, even if their curve is not a bolus.", "--trust-frame-order")
    ] = False,
    brain: Annotated[
        Path | None,
        _input(
            "Mask of the brain with its vessels, on the grid of the series. Default: the command finds it.",
            metavar="FILE",
            callback=existing_file,
        ),
    ] = None,
    arterial_input: Annotated[
        Path | None,
        _input(
            "Mask of an artery, on the grid of the series. Default: the command finds it.",
            metavar="FILE",
            callback=existing_file,
        ),
    ] = None,
    svd_cutoff: Annotated[
        float | None,
        _method(
            "Share of the largest singular value below which others are dropped, the same in all voxels, 0 to 1. "
            "Default: a share for each voxel, by its oscillation.",
            metavar="SHARE",
            show_default=False,
        ),
    ] = None,
    oscillation_index: Annotated[
        float, _method("Largest oscillation that a residue function may have.", metavar="INDEX")
    ] = 0.06,
    smoothing_mm: Annotated[
        float,
        _method("Standard deviation in mm of the Gaussian that smooths each slice; 0 smooths nothing.", metavar="MM"),
    ] = 2.0,
    tail_seconds: Annotated[
        float,
        _method(
            "Time constant in s of the curves' fall after the last frame; 0 lets them end there.", metavar="SECONDS"
        ),
    ] = 12.0,
    venous_scaling: Annotated[
        bool,
        _method(
            "Leave the arterial input as it is, even if the area of the venous curve is larger.",
            " /--no-venous-scaling",
            show_default=False,
        ),
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier maps.")] = False,
) -> None:
    """Make CBF, CBV, MTT and Tmax maps from a raw CT perfusion series.

    The command writes NAME_cbf.nii.gz (mL/100 g/min), NAME_cbv.nii.gz (mL/100 g), NAME_mtt.nii.gz and NAME_tmax.nii.gz
    (s) on the grid of the series, NAME_perfusion.png with the arterial input and the frames of the first pass, and
    NAME_perfusion.json with all numbers. Look at the picture before you trust the maps.

    `lesionseg perfusion ctp.nii.gz -o maps`

    `lesionseg perfusion ctp.nii.gz -o maps --arterial-input artery.nii.gz --frame-seconds 1`
    """
    from ..imaging import PerfusionOptions
    from ..inference.perfusion_maps import write_perfusion_maps

    try:
        options = PerfusionOptions(
            regularization="oscillation" if svd_cutoff is None else "cutoff",
            svd_cutoff=PerfusionOptions.svd_cutoff if svd_cutoff is None else svd_cutoff,
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
