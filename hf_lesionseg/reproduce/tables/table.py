"""What a table of a paper is: its rows, its columns, and what stands in for its data."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One network of a table.

    Parameters
    ----------
    name : str
        As the paper writes it.
    model_type : str
    model : dict
        Settings of its configuration that differ from the defaults.
    reported : dict
        The paper's figures by column, shares in percent; a pair is a mean and its standard deviation over cases, None
        a figure that the paper does not print.
    recipe : str
        The packaged recipe that it is trained by, where that is not the table's.
    channels : tuple of str
        What it takes in, where that is not what the recipe says: it is prepared in a folder of its own.
    narrow_rate : float, optional
        In place of the table's.
    """

    name: str
    model_type: str
    model: dict = field(default_factory=dict)
    reported: dict = field(default_factory=dict)
    recipe: str = ""
    channels: tuple[str, ...] = ()
    narrow_rate: float | None = None


@dataclass(frozen=True)
class ReportedRow:
    """A line that the paper reports and nobody can train here: a rival without a published network."""

    name: str
    reported: dict


@dataclass(frozen=True)
class Table:
    """One table of a paper.

    Parameters
    ----------
    id, title, source : str
        ``source`` is the paper.
    data : str
        What the paper measured on.
    recipe : str
        The packaged recipe that every row is trained by, but for its network.
    columns : tuple of str
        Keys of :data:`~hf_lesionseg.reproduce.tables.columns.COLUMNS`.
    rows : tuple of Row
    generator : {"organs", "strokes", "perfusion"}
        What stands in for the paper's data where they are synthetic.
    reported_only : tuple of ReportedRow
    note : str
        What a reader has to know beside the columns.
    narrow_rate : float
        Learning rate of networks that are narrower than the paper's, over some hundred steps; tried at an eighth of the
        width on generated data, where the papers' rates are too low to learn anything.
    """

    id: str
    title: str
    source: str
    data: str
    recipe: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    generator: str = "organs"
    reported_only: tuple[ReportedRow, ...] = ()
    note: str = ""
    narrow_rate: float = 1e-2

    def recipe_of(self, row):
        """Name of the recipe that a row is trained by."""
        return row.recipe or self.recipe
