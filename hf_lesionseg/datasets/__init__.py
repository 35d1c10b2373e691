"""Data sets: readers, generated strokes, splits by person, and the prepared form that training reads.

Import what you need from its module; this package itself loads nothing.
"""
