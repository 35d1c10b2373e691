"""Data sets: readers, generated strokes, prepared slices and splits."""
