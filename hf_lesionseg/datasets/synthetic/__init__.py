"""Generated data: strokes in brains, whole heads, organs in CT volumes and CT perfusion, all from (seed, index)."""
