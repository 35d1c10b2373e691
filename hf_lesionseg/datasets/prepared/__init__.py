"""Prepared data: cases written once, opened again for training, and split by person."""

from .reading import PreparedDataset

__all__ = ["PreparedDataset"]
