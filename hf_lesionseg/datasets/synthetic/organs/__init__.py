"""CT volumes with one organ of known outline, laid out like nnU-Net's data."""
