"""Reproduce the papers' tables: train their rows, print the papers' figures beside ours.

:mod:`~hf_lesionseg.reproduce.papers` holds the tables; :func:`~hf_lesionseg.reproduce.tables_run.reproduce_tables` runs
any of them, as ``lesionseg reproduce`` does. Each run is a subprocess with a folder of its own, named after what
decides its result: tables that share a network share its runs, and a run that was stopped goes on where it was.
"""
