"""Heads with strokes for networks that meet real patients: real anatomies and lesion masks, made-up contrast and age.

``lesionseg prepare heads`` writes a catalogue of what a renderer needs (:mod:`.catalogue`); training renders slices
from it as it goes (:mod:`.slices`), and :mod:`.volumes` renders whole scans. All of it depends on (seed, index) alone.
"""
