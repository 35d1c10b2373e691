"""Training: the one Accelerate loop, the recipes of the papers (one small file each), exact checkpoints."""
