"""T1w brains with strokes of known truth, laid out like ATLAS R2.0."""
