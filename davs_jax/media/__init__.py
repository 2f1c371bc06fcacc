"""Audio, video and images, shared by data preparation and generation. Nothing here needs JAX."""
