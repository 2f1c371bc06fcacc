"""The error of generation."""

from pathlib import Path

from davs_jax.errors import DavsError


class GenerationError(DavsError):
    """A photo, driver, output or option from which no video can be generated."""


def check_length(path: Path, seconds: float, longest: float, ended: bool = True) -> None:
    """Raises GenerationError where a file is longer than allowed.

    Args:
      ended: `seconds` is the whole length; otherwise it is what was read so far.
    """
    if seconds > longest:
        lasts = f"{seconds:.0f} s" if ended else f"more than {longest:g} s"
        raise GenerationError(f"{path}: lasts {lasts}, and here {longest:g} s are allowed", "cut it")
