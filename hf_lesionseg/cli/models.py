"""``lesionseg models``: the networks that come with the package."""

import json
from typing import Annotated

import typer

from .app import app


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print the full record of each network as JSON.")] = False,
) -> None:
    """List the networks that come with this package, and how each was trained.

    `--model` and `lesionseg push` take these names. Each network's folder holds its card, README.md.

    `lesionseg models`

    `lesionseg models --json`
    """
    from ..pretrained import DEFAULT, packaged_networks

    networks = packaged_networks()
    if as_json:
        listed = [
            {"name": each.name, "default": each.name == DEFAULT, "folder": str(each.folder), **each.record}
            for each in networks
        ]
        print(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Networks in this package (research use only)")
    for name in ("name", "marks", "takes", "trained", "card"):
        table.add_column(name, overflow="fold")
    for each in networks:
        default = " (default)" if each.name == DEFAULT else ""
        table.add_row(
            *map(Text, (f"{each.name}{default}", each.record["marks"], each.record["takes"], _trained(each.record))),
            Text(str(each.folder / "README.md")),
        )
    Console().print(table)


def _trained(record) -> str:
    """Recipe, steps and data of a network in one sentence."""
    training, data = record["training"], record["data"]
    synthetic = " (synthetic)" if data["synthetic"] else ""
    return (
        f"recipe {training['recipe']['name']}, seed {training['seed']}, step {training['step']}, on {data['name']}"
        f"{synthetic}; {record['parameters']:,} parameters, {record['weights']['dtype']}"
    )
