"""The progress bar."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(iterable: Iterable | None = None, **options) -> tqdm:
    """A tqdm bar on standard error, updated every 0.5 s in a terminal and every 30 s in a log file."""
    return tqdm(iterable, dynamic_ncols=True, mininterval=0.5 if sys.stderr.isatty() else 30, **options)
