"""Exit status of a command: every error it expects becomes one sentence on standard error."""

import sys
from collections.abc import Callable

from davs_jax.constants import INTERRUPTED
from davs_jax.errors import DavsError


def exit_status(command: Callable[[], None], place: object, stopped: str = "stopped") -> int:
    """Runs a command's body and returns 0, 1 after an error, or 130 after Ctrl-C.

    Args:
      place: folder to name where an OSError names no file.
      stopped: sentence to print after Ctrl-C.
    """
    try:
        command()
    except DavsError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename or place}: {error.strerror or error}; check the folder and its disk", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return INTERRUPTED
    return 0
