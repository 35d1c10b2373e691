"""A bar for what a command is doing, on terminals only."""

from contextlib import contextmanager, nullcontext


@contextmanager
def progress_bar(waiting_for, unit=None):
    """Show one bar; gives ``update(description, done, total)``.

    Parameters
    ----------
    waiting_for : str
        Shown until the first update.
    unit : str, optional
        What is counted; without it no numbers are shown.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    numbers = () if unit is None else (MofNCompleteColumn(), TextColumn(unit))
    console = Console(stderr=True)  # the error stream, so that what a command prints can be piped
    columns = (TextColumn("{task.description}"), BarColumn(), *numbers, TimeElapsedColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(waiting_for, total=None)

    def update(description: str, done: int, total: int) -> None:
        bar.update(task, description=description, completed=done, total=total)

    with bar if console.is_terminal else nullcontext():  # a disabled bar of an older rich still ends its line
        yield update
