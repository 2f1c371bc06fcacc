"""Former name of `configs/ablations`, kept for documented commands."""
