"""Memory, time and collectives of a training step on a machine that is not available."""
