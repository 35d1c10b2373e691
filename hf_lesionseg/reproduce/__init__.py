"""Train the rows of a paper's table, by their recipes or within a budget; print the paper's figures beside ours.

Every run is a subprocess with a folder of its own, named after what decides its result, so that tables which share a
network share its runs, and a run that was stopped goes on where it was.
"""

from .budget import Budget
from .data import Prepared, Synthetic
from .pace import parse_duration
from .table_run import reproduce
from .tables_run import reproduce_tables

__all__ = ["Budget", "Prepared", "Synthetic", "parse_duration", "reproduce", "reproduce_tables"]
