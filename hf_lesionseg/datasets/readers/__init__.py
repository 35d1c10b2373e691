"""Readers of data sets: which files are the scans, masks and people of each layout."""
