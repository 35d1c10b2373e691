"""The package's own op files, copied here by scripts/assemble_hub_kernel.py, over this kernel's namespace of ops."""
