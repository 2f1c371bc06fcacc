"""The error of generation."""

from davs_jax.errors import DavsError


class GenerationError(DavsError):
    """A photo, driver, output or option from which no video can be generated."""
