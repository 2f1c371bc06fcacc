"""Sound and pictures, shared by data preparation and generation. Nothing here needs JAX."""
