"""``lesionseg doctor``: is everything there that a run needs?"""

from typing import Annotated

import typer

from .app import app

_NAME_WIDTH = 24  # a kernel's name has 20; columns stand before the first line, and all lines are not known yet


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

    styles = {"ok": "green", "note": "yellow", "broken": "bold red"}
    console, broken = Console(), 0
    # Each line at once: what comes next may take seconds, as the import of torch does.
    for finding in examine(online=online):
        broken += finding.status == "broken"
        told = finding.value + (f"\n{finding.remedy}" if finding.remedy else "")
        line = Table(show_header=False, box=None, pad_edge=False)
        line.add_column(no_wrap=True, width=max(map(len, styles)))
        line.add_column(no_wrap=True, width=_NAME_WIDTH)
        line.add_column(overflow="fold")
        line.add_row(Text(finding.status, style=styles[finding.status]), finding.name, Text(told))
        console.print(line)
        console.file.flush()
    print(f"{broken} broken" if broken else "everything that a run needs is there")
    raise typer.Exit(1 if broken else 0)
