"""Runs `--help` of the commands named on the command line, in one process: the libraries that they share load once.

Prints to standard error a line for each command: its name, its exit status, and the number of bytes that it printed.
"""

import importlib
import io
import os
import sys


def status(main, *arguments) -> int:
    try:
        return main(*arguments) or 0
    except SystemExit as end:
        return end.code or 0


def printed(main) -> tuple[int, int]:
    """Exit status and printed bytes of `--help` to a pipe that knows ASCII only."""
    sys.stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    found = status(main, ["--help"])
    return found, len(sys.stdout.buffer.getvalue())


def unread(main) -> int:
    """Exit status of `--help` to a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    sys.stdout = os.fdopen(write, "w", encoding="utf-8")
    return status(main, ["--help"])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        main = importlib.import_module(name).main
        print(name, *printed(main), unread(main), file=sys.stderr)
