"""The formulas in plain PyTorch, copied here by scripts/assemble_hub_kernel.py: fallback and second derivatives."""
