"""``lesionseg doctor``: is everything there that a run needs?"""

from typing import Annotated

import typer

from .app import app


@app.command()
def doctor(
    online: Annotated[bool, typer.Option("--online", help="Also check that the Hub answers.")] = False,
) -> None:
    """Check this installation and name what is missing.

    The command looks at versions, kernels, GPU, compilers, disk and memory (GB) and Hub settings. It contacts nobody
    unless you ask for it. The exit status is 1 if something is broken that every run needs.

    `lesionseg doctor`

    `lesionseg doctor --online`
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..doctor import examine

    findings = examine(online=online)
    styles = {"ok": "green", "note": "yellow", "broken": "bold red"}
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        told = finding.value + (f"\n{finding.remedy}" if finding.remedy else "")
        table.add_row(Text(finding.status, style=styles[finding.status]), finding.name, Text(told))
    Console().print(table)
    broken = [finding for finding in findings if finding.status == "broken"]
    print(f"{len(broken)} broken" if broken else "everything that a run needs is there")
    raise typer.Exit(1 if broken else 0)
