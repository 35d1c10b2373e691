"""The tables of the papers: which networks stand in their rows, and what the papers report for them.

A paper has a module here, which ends in a tuple ``TABLES``. To add a table, write it there, or add a module of a new
paper to ``_PAPERS``; a column that no table had so far goes into :mod:`~hf_lesionseg.reproduce.tables.columns`, its
figure of a case into :mod:`~hf_lesionseg.reproduce.case_values`.
:mod:`hf_lesionseg.reproduce` runs any of them.
"""

from ...errors import UsageError
from . import clci_net, egs_net, l_snet, ms_dcnn, res_unet
from .columns import COLUMNS, Column
from .table import ReportedRow, Row, Table

__all__ = ["COLUMNS", "TABLES", "Column", "ReportedRow", "Row", "Table", "find_table", "find_tables"]

_PAPERS = (l_snet, clci_net, res_unet, ms_dcnn, egs_net)

TABLES = {table.id: table for paper in _PAPERS for table in paper.TABLES}


def find_table(table_id):
    """The table of that id.

    Raises
    ------
    UsageError
        If there is none.
    """
    if table_id not in TABLES:
        raise UsageError(f"no table is called {table_id!r}; use one of {', '.join(TABLES)}, or all")
    return TABLES[table_id]


def find_tables(ids):
    """The tables of these ids, each once; ``all`` stands for all of them.

    Raises
    ------
    UsageError
        If there is none of an id.
    """
    names = [name for table_id in ids for name in (TABLES if table_id == "all" else (table_id,))]
    return [find_table(name) for name in dict.fromkeys(names)]
