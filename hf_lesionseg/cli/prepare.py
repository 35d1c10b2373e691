"""``lesionseg prepare ...``: data sets into the form that training reads."""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import RejectedCasesError, UsageError
from .app import app


class _Preparations(TyperGroup):
    """Says which cases were left out, and why, before what follows from it: too few are left."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RejectedCasesError as error:
            _print_left_out([(each.path, each.reason) for each in error.rejected])
            raise


prepare = typer.Typer(cls=_Preparations, no_args_is_help=True, rich_markup_mode="markdown")
app.add_typer(prepare, name="prepare")

_MOST_WARNINGS = 20  # that are printed: a data set may have a trap in each header

Output = Annotated[
    Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the prepared data.", show_default=False)
]
RecipeName = Annotated[
    str, typer.Option("--recipe", help="Recipe, by name or file, whose image processor and split are used.")
]
SplitSeed = Annotated[int, typer.Option(help="Seed of the split into train, validation and test.")]
OwnRecipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Recipe, by name or file, whose image processor and split are used; by default CT from -100 to 240 HU, "
        "each slice as three equal channels.",
        show_default=False,
    ),
]
Label = Annotated[
    str | None,
    typer.Option(
        help="Value of the label that is the lesion, where masks hold several; with commas for some. All above 0 "
        "without.",
        show_default=False,
    ),
]
Workers = Annotated[int, typer.Option(help="Processes; 0 works in this one.")]


@prepare.callback()
def _prepare() -> None:
    """Turn a data set into what training reads.

    Slices on disk, read by memory mapping, split by person. A run that was stopped goes on where it was.

    `lesionseg prepare atlas ATLAS_2 -o prepared`
    """


def _processor(recipe: Any, **settings: Any) -> Any:
    """The image processor that a recipe asks for; ``settings`` are for what it does not say."""
    from ..models.image_processing_lesion import LesionImageProcessor

    try:
        return LesionImageProcessor(**{**settings, **recipe.processor})
    except (TypeError, ValueError) as error:
        raise UsageError(f"recipe {recipe.name}: its processor settings cannot be used: {error}") from error


@prepare.command()
def atlas(
    source: Annotated[
        Path,
        typer.Argument(help="Folder of ATLAS R1.1, R1.2 or R2.0 as it was unpacked, of any depth.", show_default=False),
    ],
    output: Output,
    label: Label = None,
    recipe: RecipeName = "clci-net-atlas",
    split_seed: SplitSeed = 0,
    workers: Workers = 0,
) -> None:
    """Prepare ATLAS: T1w scans of chronic stroke with lesion masks.

    Several lesion files of a scan are united; all scans of a person go into one split. A case that cannot be read is
    named with its reason and makes the exit status 1; the others are prepared.

    `lesionseg prepare atlas ATLAS_2 -o prepared`
    """
    from ..datasets.readers.atlas import find_atlas_cases, prepare_atlas
    from ..training.recipe import load_recipe

    chosen = load_recipe(recipe)
    dataset = prepare_atlas(
        source,
        output,
        processor=_processor(chosen),
        fractions=chosen.split,
        seed=split_seed,
        workers=workers,
        label=label,
    )
    # What the names alone rule out, such as the scans without masks of R2.0's Testing, is no failure.
    _, left_out = find_atlas_cases(source)
    _print_summary(dataset, output)
    raise typer.Exit(_tell_rejected(dataset, {case.path for case in left_out}))


@prepare.command()
def synthetic(
    output: Output,
    count: Annotated[int, typer.Option(help="Cases to generate; more of them add to a folder.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Equal seeds give equal cases.")] = 0,
    preset: Annotated[
        str, typer.Option(help="Lesions as in chronic stroke (atlas, median 5 mL) or acute (median 10 mL).")
    ] = "atlas",
    spacing: Annotated[int, typer.Option(help="Voxel size of the scans in mm: 1, 2, 3 or 4.")] = 1,
    minimum_ml: Annotated[
        float | None, typer.Option(help="Only lesions of at least this volume in mL.", show_default=False)
    ] = None,
    maximum_ml: Annotated[
        float | None, typer.Option(help="Only lesions of at most this volume in mL.", show_default=False)
    ] = None,
    recipe: RecipeName = "clci-net-atlas",
    split_seed: SplitSeed = 0,
    workers: Workers = 0,
) -> None:
    """Generate T1w scans with strokes of known outline, and prepare them.

    For tests, demonstrations and warm-up: everything made from them is marked synthetic.

    `lesionseg prepare synthetic -o strokes --count 40 --minimum-ml 5 --workers 2`
    """
    from ..datasets.synthetic.strokes.generate import prepare_synthetic
    from ..training.recipe import load_recipe

    chosen = load_recipe(recipe)
    dataset = prepare_synthetic(
        output,
        count=count,
        seed=seed,
        preset=preset,
        processor=_processor(chosen),
        fractions=chosen.split,
        split_seed=split_seed,
        spacing=spacing,
        minimum_ml=minimum_ml,
        maximum_ml=maximum_ml,
        workers=workers,
    )
    _print_summary(dataset, output)
    raise typer.Exit(_tell_rejected(dataset, set()))


@prepare.command("synthetic-organs")
def synthetic_organs(
    output: Output,
    count: Annotated[int, typer.Option(help="Cases to generate; more of them add to a folder.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Equal seeds give equal cases.")] = 0,
    size: Annotated[int, typer.Option(help="Pixels of a slice along both axes, 64 to 512.")] = 128,
    slices: Annotated[int, typer.Option(help="Slices of a volume, 1 to 128.")] = 16,
    recipe: OwnRecipe = None,
    split_seed: SplitSeed = 0,
    workers: Workers = 0,
) -> None:
    """Generate CT volumes with one organ among look-alikes, and prepare them.

    The organ varies in size and place; most are small, some absent. Everything made from them is marked synthetic.

    `lesionseg prepare synthetic-organs -o organs --count 60 --workers 2`
    """
    from ..datasets.synthetic.organs.generate import prepare_synthetic_organs

    dataset = prepare_synthetic_organs(
        output,
        count=count,
        seed=seed,
        size=size,
        slices=slices,
        split_seed=split_seed,
        workers=workers,
        **_of_recipe(recipe, channel_names=("ct",)),
    )
    _print_summary(dataset, output)
    raise typer.Exit(_tell_rejected(dataset, set()))


@prepare.command("pancreas-ct")
def pancreas_ct(
    source: Annotated[
        Path,
        typer.Argument(help="Folder of Pancreas-CT: DICOM series or NIfTI scans, of any depth.", show_default=False),
    ],
    output: Output,
    labels: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the labels, where it is another.", show_default=False)
    ] = None,
    hu_range: Annotated[tuple[float, float], typer.Option(help="Mean HU under a label that lies on the pancreas.")] = (
        60.0,
        130.0,
    ),
    label: Label = None,
    recipe: RecipeName = "l-snet-pancreas",
    split_seed: SplitSeed = 0,
    workers: Workers = 0,
) -> None:
    """Prepare Pancreas-CT of the NIH: CT scans with the pancreas outlined.

    Scans and labels are matched by array index, and each label is checked against its scan: flips along y and z are
    tried where it does not lie on soft tissue, and the verdict is printed. Cases 25 and 70 were withdrawn and are left
    out. A case that cannot be used is named with its reason and makes the exit status 1; the others are prepared.

    `lesionseg prepare pancreas-ct Pancreas-CT -o pancreas`
    """
    from ..datasets.readers.pancreas_ct import find_pancreas_cases, prepare_pancreas_ct

    dataset = prepare_pancreas_ct(
        source,
        output,
        labels=labels,
        hu_range=hu_range,
        label=label,
        seed=split_seed,
        workers=workers,
        **_of_recipe(recipe, channel_names=("ct",)),
    )
    # What the names alone rule out, such as the withdrawn cases, is no failure.
    _, left_out = find_pancreas_cases(source, labels)
    _print_label_checks(dataset)
    _print_summary(dataset, output)
    raise typer.Exit(_tell_rejected(dataset, {case.path for case in left_out}))


@prepare.command()
def nnunet(
    source: Annotated[
        Path, typer.Argument(help="Folder with imagesTr and labelsTr, and dataset.json if any.", show_default=False)
    ],
    output: Output,
    label: Annotated[
        str | None,
        typer.Option(
            help="Value or name of the label that is foreground, with commas for some; all above 0 without.",
            show_default=False,
        ),
    ] = None,
    recipe: OwnRecipe = None,
    split_seed: SplitSeed = 0,
    workers: Workers = 0,
) -> None:
    """Prepare any data set in nnU-Net's layout.

    Each case counts as a person of its own. A case that cannot be read, or whose label lies on another grid than its
    image, is named with its reason and makes the exit status 1; the others are prepared. Without a recipe, images that
    are no CT are normalised between the percentiles of their non-zero voxels.

    `lesionseg prepare nnunet Dataset007_Pancreas -o pancreas --label 1`
    """
    from ..datasets.readers.nnunet import find_nnunet_cases, prepare_nnunet, read_channel_names

    dataset = prepare_nnunet(
        source,
        output,
        label=label,
        seed=split_seed,
        workers=workers,
        **_of_recipe(recipe, channel_names=read_channel_names(source)),
    )
    _, left_out = find_nnunet_cases(source, label)
    _print_summary(dataset, output)
    raise typer.Exit(_tell_rejected(dataset, {case.path for case in left_out}))


@prepare.command()
def bids(
    source: Annotated[
        Path, typer.Argument(help="Folder that holds sub-01 and so on, and derivatives.", show_default=False)
    ],
    output: Output,
    entity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Take the files with this entity, such as run=1 or desc=lesion, none for files without; may be "
            "repeated. It chooses among scans where scans have it, and among masks where masks have it.",
            show_default=False,
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder to take the masks from, in SOURCE or by itself, such as derivatives/manual; all by default.",
            show_default=False,
        ),
    ] = None,
    channels: Annotated[
        str, typer.Option(help="Suffixes of the scans, with commas; a recipe's own channels win.")
    ] = "t1w",
    label: Label = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Recipe, by name or file, whose image processor and split are used; by default scans between the "
            "percentiles of their non-zero voxels, CT from -100 to 240 HU, 60 % of the people for training.",
            show_default=False,
        ),
    ] = None,
    split_seed: SplitSeed = 0,
    workers: Workers = 0,
) -> None:
    """Prepare your own BIDS data set: scans with lesion masks in derivatives/ or beside them.

    A mask is found by its name (..._label-lesion_mask.nii.gz and the like), or as the only one of its session where it
    names nothing else. Where a session leaves a choice, it is left out with the options that choose. A case that cannot
    be read is named with its reason and makes the exit status 1; the others are prepared.

    `lesionseg prepare bids my-study --channels t1w,flair -o prepared`
    """
    from ..datasets.readers.bids import default_processor, find_bids_cases, prepare_bids

    pairs = [each.partition("=") for each in entity or ()]
    wrong = [key for key, equals, value in pairs if not (key and equals and value)]
    if wrong:
        raise UsageError(f"--entity {wrong[0]!r} is no KEY=VALUE, such as run=1 or space=MNI152NLin2009aSym")
    entities: dict[str, list[str]] = {}
    for key, _, value in pairs:
        entities.setdefault(key, []).append(value)
    names = tuple(name.strip().lower() for name in channels.split(",") if name.strip())
    if not names:
        raise UsageError("--channels names none; give suffixes such as t1w,flair")
    chosen = {"processor": default_processor(names)} | _of_recipe(recipe, channel_names=names)
    choice = {"entities": entities, "masks": masks}
    dataset = prepare_bids(source, output, **choice, label=label, seed=split_seed, workers=workers, **chosen)
    _, left_out = find_bids_cases(source, tuple(chosen["processor"].channel_names), **choice)
    _print_mask_choices(dataset)
    _print_summary(dataset, output)
    raise typer.Exit(_tell_rejected(dataset, {case.path for case in left_out}))


def _of_recipe(name: str | None, **settings: Any) -> dict[str, Any]:
    """Image processor and split of a recipe, or nothing where none was named."""
    from ..training.recipe import load_recipe

    if name is None:
        return {}
    recipe = load_recipe(name)
    return {"processor": _processor(recipe, **settings), "fractions": recipe.split}


def _targets_of_recipe(name: str | None) -> tuple[str, ...]:
    """The images that a recipe wants to learn from beside the lesion."""
    from ..training.recipe import load_recipe

    return () if name is None else tuple(load_recipe(name).target_channels)


def _print_label_checks(dataset: Any) -> None:
    """How the label of each case lies on its scan."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Labels on their scans")
    table.add_column("case")
    for name in ("mean HU", "soft tissue"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    for case in dataset.cases:
        check = case.notes["label_check"]
        found = check["overlaps"].get(check["flip"] or "as documented")
        numbers = (f"{found['mean_hu']:.0f}", f"{found['soft_tissue']:.0%}") if found else ("–", "–")
        remark = f": {check['remark']}" if check["remark"] else ""
        table.add_row(case.id, *numbers, check["verdict"] + remark)
    Console().print(table)


def _print_summary(dataset: Any, output: Path) -> None:
    """What is in each split, and what was odd in the cases."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{dataset.name}{' (synthetic data)' if dataset.synthetic else ''}: {output}")
    table.add_column("split")
    for name in ("cases", "people", "slices", "with lesion", "lesion mL, median"):
        table.add_column(name, justify="right")
    for split in dataset.splits():
        cases = dataset.select(split)
        volumes = sorted(case.lesion_ml for case in cases)
        table.add_row(
            split,
            str(len(cases)),
            str(len({case.person for case in cases})),
            str(sum(case.num_slices for case in cases)),
            str(sum(len(case.lesion_slices) for case in cases)),
            f"{volumes[len(volumes) // 2]:.2f}" if volumes else "–",
        )
    Console().print(table)
    for remark in dataset.remarks:
        print(f"warning: {remark}", file=sys.stderr)
    told = [warning for case in dataset.cases for warning in case.warnings]
    for warning in told[:_MOST_WARNINGS]:
        print(f"warning: {warning}", file=sys.stderr)
    if len(told) > _MOST_WARNINGS:
        print(f"warning: {len(told) - _MOST_WARNINGS} more of such warnings, see dataset.json", file=sys.stderr)


def _tell_rejected(dataset: Any, left_out: set[str]) -> int:
    """Say what was left out, in brief, and what failed, one by one; returns the exit status."""
    by_name, status = [], 0
    for rejected in dataset.rejected:
        path, reason = rejected["path"], rejected["reason"]
        if path in left_out:
            by_name.append((path, reason))
        else:
            print(f"error: {reason if path in reason else f'{path}: {reason}'}", file=sys.stderr)
            status = 1
    _print_left_out(by_name, ", see dataset.json")
    return status


def _print_left_out(rejected: Iterable[tuple[str, str]], place: str = "") -> None:
    """A line for each reason, with the first file that it is true of."""
    reasons: dict[str, list[str]] = {}
    for path, reason in rejected:
        reasons.setdefault(reason, []).append(path)
    for reason, paths in reasons.items():
        more = f" and {len(paths) - 1} more{place}" if len(paths) > 1 else ""
        where = "" if paths[0] in reason else f": {paths[0]}"
        print(f"left out: {reason}{where}{more}", file=sys.stderr)


def _print_mask_choices(dataset: Any) -> None:
    """Which mask was taken where a session had several."""
    notes = Counter(case.notes["mask_choice"] for case in dataset.cases if "mask_choice" in case.notes)
    for note, count in notes.items():
        print(f"note: {count} cases: {note}", file=sys.stderr)
