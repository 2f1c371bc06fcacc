"""Audio, video and images, shared by data preparation and generation. Nothing here needs JAX."""

from davs_jax.user_folders import settle_numba

settle_numba()  # before it is imported
