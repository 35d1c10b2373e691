"""``lesionseg prepare isles2018``, ``isles2022`` and ``isles2024``, and generated cases in the layout of the first."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .prepare import (
    Label,
    Output,
    SplitSeed,
    Workers,
    _of_recipe,
    _print_summary,
    _targets_of_recipe,
    _tell_rejected,
    prepare,
)

Source = Annotated[
    Path, typer.Argument(help="Folder of the training cases as it was unpacked, of any depth.", show_default=False)
]
MapsRecipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Recipe, by name or file, whose image processor (with its channels) and split are used; by default "
        "tmax, cbf, cbv and mtt between their percentiles.",
        show_default=False,
    ),
]

OwnDWI = Annotated[
    Path | None,
    typer.Option(
        "--dwi",
        metavar="DIR",
        help="Folder with a DWI of each case, in files named by case (case_7.nii.gz, case_7_dwi.nii.gz, "
        "case_7/dwi.nii.gz), for a recipe that learns from it, such as egs-net-isles2018.",
        show_default=False,
    ),
]
ResampleDWI = Annotated[
    bool,
    typer.Option(
        "--resample-dwi",
        help="Bring a DWI on another grid onto that of its case, by the affines of both; else it is refused.",
    ),
]


@prepare.command()
def isles2018(
    source: Source,
    output: Output,
    people: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV file with the columns case and person, where the JSON files of OT are missing.",
            show_default=False,
        ),
    ] = None,
    label: Label = None,
    recipe: MapsRecipe = None,
    dwi: OwnDWI = None,
    resample_dwi: ResampleDWI = False,
    split_seed: SplitSeed = 0,
    workers: Workers = 0,
) -> None:
    """Prepare ISLES 2018: CT perfusion maps of acute stroke with the infarct core.

    Both releases, with maps named CT_CBF or MR_CBF. Slabs of one patient, told by the JSON files of OT, go into one
    split; a warning says where the patient is unknown. A case that lacks a map or cannot be read is named with its
    reason and makes the exit status 1; the others are prepared.

    Where no case has any map, maps are made from the raw series (CT_4DPWI), as `lesionseg perfusion` makes them.

    A recipe that learns from a DWI (egs-net-isles2018) takes that of the first release, or your own folder of --dwi;
    where no case has one, a warning says so, and the data are prepared without.

    `lesionseg prepare isles2018 TRAINING -o perfusion`

    `lesionseg prepare isles2018 TRAINING -o perfusion --recipe egs-net-isles2018 --dwi my-dwi`
    """
    from ..datasets.readers.isles2018 import LeakageWarning, people_warning, prepare_isles2018

    options = {"people": people, "dwi": dwi, "resample_dwi": resample_dwi, "label": label}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakageWarning)  # told below, as a line without a place in our code
        dataset = _prepare_with_targets(prepare_isles2018, source, output, recipe, split_seed, workers, **options)
    if message := people_warning(dataset.cases):
        print(f"warning: {message}", file=sys.stderr)
    _finish(dataset, output)


@prepare.command()
def isles2022(
    source: Source,
    output: Output,
    label: Label = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Recipe, by name or file, whose image processor (with its channels) and split are used; by default "
            "dwi and adc between their percentiles.",
            show_default=False,
        ),
    ] = None,
    split_seed: SplitSeed = 0,
    workers: Workers = 0,
) -> None:
    """Prepare ISLES 2022: DWI and ADC of acute and subacute stroke with the infarct.

    As on Zenodo or on GitHub. FLAIR lies on a grid of its own: as a channel it must be resampled onto the DWI before. A
    case that lacks an image or cannot be read is named with its reason and makes the exit status 1; the others are
    prepared.

    `lesionseg prepare isles2022 ISLES-2022 -o diffusion`
    """
    from ..datasets.readers.isles2022 import prepare_isles2022

    _finish(_prepare(prepare_isles2022, source, output, recipe, split_seed, workers, label=label), output)


@prepare.command()
def isles2024(
    source: Source,
    output: Output,
    label: Label = None,
    recipe: MapsRecipe = None,
    dwi: OwnDWI = None,
    resample_dwi: ResampleDWI = False,
    split_seed: SplitSeed = 0,
    workers: Workers = 0,
) -> None:
    """Prepare ISLES 2024: CT perfusion maps of acute stroke with the final infarct.

    Maps and masks in the space of the non-contrast CT are taken where there are some. A case that lacks a map or cannot
    be read is named with its reason and makes the exit status 1; the others are prepared.

    Where no case has any map, maps are made from the raw series (ctp), as `lesionseg perfusion` makes them; it must lie
    on the grid of the mask.

    A recipe that learns from a DWI (egs-net-isles2018) takes that in the space of the CT where there is one; of one in
    its own space --resample-dwi goes by the affines. --dwi gives a folder of your own.

    `lesionseg prepare isles2024 ISLES-2024 -o perfusion`
    """
    from ..datasets.readers.isles2024 import prepare_isles2024

    options = {"dwi": dwi, "resample_dwi": resample_dwi, "label": label}
    _finish(_prepare_with_targets(prepare_isles2024, source, output, recipe, split_seed, workers, **options), output)


@prepare.command("synthetic-perfusion")
def synthetic_perfusion(
    output: Output,
    count: Annotated[
        int,
        typer.Option(
            help="People to generate, half of them with two slabs, which are two cases; more of them add to a folder.",
            show_default=False,
        ),
    ],
    seed: Annotated[int, typer.Option(help="Equal seeds give equal cases.")] = 0,
    size: Annotated[int, typer.Option(help="Pixels of a slice of 220 mm along both axes, 64 to 512.")] = 128,
    slices: Annotated[
        int | None, typer.Option(help="Slices of a slab, 1 to 16; by default 2, 4 or 8 by chance.", show_default=False)
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            help="Frames of a series, a second each, 30 to 120; by default 40 to 60 by chance.", show_default=False
        ),
    ] = None,
    recipe: MapsRecipe = None,
    split_seed: SplitSeed = 0,
    workers: Workers = 0,
) -> None:
    """Generate CT perfusion of acute strokes in ISLES 2018's layout, and prepare it.

    Series by the physics of a phantom, maps made from them, DWI, and the infarct as truth; the files stay in
    DIR/source. A recipe's size larger than the slices is cut down to them. Everything made from these cases is marked
    synthetic.

    `lesionseg prepare synthetic-perfusion -o perfusion --count 12 --size 64 --recipe ms-dcnn-isles2018`
    """
    from ..datasets.synthetic.perfusion.generate import prepare_synthetic_perfusion

    dataset = prepare_synthetic_perfusion(
        output,
        patients=count,
        seed=seed,
        size=size,
        num_slices=slices,
        num_frames=frames,
        target_channels=_targets_of_recipe(recipe),
        split_seed=split_seed,
        workers=workers,
        **_of_recipe(recipe),
    )
    _finish(dataset, output)


def _prepare(
    reader: Callable, source: Path, output: Path, recipe: str | None, seed: int, workers: int, **options: Any
) -> Any:
    return reader(source, output, seed=seed, workers=workers, **options, **_of_recipe(recipe))


def _prepare_with_targets(
    reader: Callable, source: Path, output: Path, recipe: str | None, seed: int, workers: int, **options: Any
) -> Any:
    """Prepare with the images that the recipe learns from, or say loudly that there are none."""
    from ..datasets.readers.target_channels import MissingTargetWarning, missing_targets

    targets = _targets_of_recipe(recipe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingTargetWarning)  # told below
        dataset = _prepare(reader, source, output, recipe, seed, workers, target_channels=targets, **options)
    if targets and not dataset.target_channels:
        print(f"warning: {missing_targets(dataset.name, targets)}", file=sys.stderr)
    return dataset


def _finish(dataset: Any, output: Path) -> None:
    """Print what was made; only cases that never had a truth, those of a test set, are no failure."""
    from ..datasets.readers.isles import NO_MASK, PERFUSION_MAPS

    _print_summary(dataset, output)
    if any(name in PERFUSION_MAPS for case in dataset.cases for name in case.made_from_series):
        print("no case has perfusion maps: all are made from the raw series, as `lesionseg perfusion` makes them")
    raise typer.Exit(_tell_rejected(dataset, {each["path"] for each in dataset.rejected if each["reason"] == NO_MASK}))
