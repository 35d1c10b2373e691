"""All readers by the name of their subcommand: those that come with the package, and those that others register."""

from importlib import import_module

from .readers.reader import Reader

__all__ = ["commands", "find_reader", "page_rows", "register"]

# In the order of the help. A module is loaded when its reader is asked for.
_OURS = {
    "atlas": (".readers.atlas", "ATLAS"),
    "bids": (".readers.bids", "BIDS"),
    "nnunet": (".readers.nnunet", "NNUNet"),
    "isles2018": (".readers.isles2018", "ISLES2018"),
    "isles2022": (".readers.isles2022", "ISLES2022"),
    "isles2024": (".readers.isles2024", "ISLES2024"),
    "pancreas-ct": (".readers.pancreas_ct", "PancreasCT"),
    "synthetic": (".synthetic.strokes.generate", "Strokes"),
    "synthetic-organs": (".synthetic.organs.generate", "Organs"),
    "synthetic-perfusion": (".synthetic.perfusion.generate", "Perfusion"),
    "template-heads": (".synthetic.heads.template_heads", "TemplateHeads"),
    "heads": (".synthetic.heads.prepare", "Heads"),
}
_registered: dict[str, type[Reader]] = {}


def register(reader: type[Reader]) -> type[Reader]:
    """Add a reader of one's own; a decorator. `lesionseg prepare` has its subcommand then, the page its row.

    Raises
    ------
    ValueError
        Where another reader has its command.
    """
    if reader.command in _OURS or _registered.get(reader.command, reader) is not reader:
        other = find_reader(reader.command).__name__
        raise ValueError(f"{reader.command!r} is the command of {other}; give {reader.__name__} another")
    _registered[reader.command] = reader
    return reader


def commands() -> list[str]:
    """Commands of all readers, in the order of the help."""
    return [*_OURS, *_registered]


def find_reader(command: str) -> type[Reader]:
    """The reader of a command.

    Raises
    ------
    KeyError
        Where there is none.
    """
    if command in _registered:
        return _registered[command]
    module, name = _OURS[command]
    return getattr(import_module(module, __package__), name)


def page_rows() -> list[str]:
    """The table of the page on data sets, in Markdown: what each command reads, and how it splits by default."""
    rows = [
        "| `lesionseg prepare` | data set | channels | train / validation / test | recipe |",
        "|---|---|---|---|---|",
    ]
    for command in commands():
        reader = find_reader(command)
        what = reader.help.partition("\n")[0].removesuffix(".")
        channels = ", ".join(reader.channels) or "as the data set names them"
        shares = " / ".join(f"{100 * share:.0f}" for share in reader.fractions.values())
        recipe = f"`{reader.recipe}`" if reader.recipe else "none"
        rows.append(f"| `{command}` | {what} | {channels} | {shares} % | {recipe} |")
    return rows
