"""What a training step would need and take on a machine that is not at hand."""
