"""Command lines: what all commands print, argparse number types, and config files for absl (`--config.KEY=VALUE`)."""

import argparse
import contextlib
import difflib
import functools
import io
import os
import runpy
import select
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from absl import flags
from ml_collections import ConfigDict

from davs_jax.errors import DavsError, first_line

CLOSED_PIPE = 141  # exit status when the reader of the output has ended, as shells report SIGPIPE


class _Unwritable(BaseException):
    """The standard output cannot be written. Not an OSError, which commands report as that of their files."""


class _Output(io.TextIOWrapper):
    """The standard output, of which errors are `_Unwritable`."""

    def __init__(self, stream: io.TextIOWrapper):
        super().__init__(
            stream.buffer,
            stream.encoding,
            stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self._stream = stream  # whose end would close the buffer

    def write(self, text: str) -> int:
        with _unwritable():
            return super().write(text)

    def flush(self) -> None:
        with _unwritable():
            super().flush()


@contextlib.contextmanager
def _unwritable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _Unwritable from error


def command(main: Callable) -> Callable:
    """Decorates the `main` of a command, so that it can print everywhere.

    Characters that the terminal's encoding lacks become question marks. Where the reader of the output ends early
    (`… | head`), the command ends without a word. Output that cannot be written is an error in one sentence.
    """

    @functools.wraps(main)
    def run(*arguments):
        for stream in filter(None, (sys.stdout, sys.stderr)):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        if type(sys.stdout) is io.TextIOWrapper:  # not one of a test
            sys.stdout = _Output(sys.stdout)
        try:
            try:
                return main(*arguments)
            finally:
                if sys.stdout is not None:  # now, and not at the interpreter's end, which would show a traceback
                    sys.stdout.flush()
        except (_Unwritable, BrokenPipeError) as error:
            cause = error.__cause__ or error
            if not (isinstance(error, _Unwritable) or _unread(sys.stderr)):  # a pipe to another process
                raise
            for stream in filter(None, (sys.stdout, sys.stderr)[: 2 if _unread(sys.stderr) else 1]):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # for what is not written yet
            if isinstance(cause, BrokenPipeError):
                raise SystemExit(CLOSED_PIPE) from None
            raise SystemExit(f"the standard output cannot be written ({cause.strerror})") from None

    return run


@contextlib.contextmanager
def sentences(program: str, place: object = "a file") -> Iterator[None]:
    """Ends the process with one sentence and status 1 where it meets an expected error: a DavsError or an OSError.

    Args:
      place: to name where an OSError names no file.
    """
    try:
        yield
    except DavsError as error:
        raise SystemExit(f"{program}: {' '.join(str(error).split())}") from error
    except BrokenPipeError:
        raise  # for `command`
    except OSError as error:
        reason = f"{error.filename or place}: {error.strerror or first_line(error)}"
        raise SystemExit(f"{program}: {reason}; check the file, its folder and its disk") from error


def _unread(stream) -> bool:
    """Whether a stream is a pipe whose reader has ended."""
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # closed, or not a file
        return False


def whole(least: int = 0) -> Callable[[str], int]:
    """An argparse type: a whole number of at least `least`."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
        return int(text)

    return number


def real(least: float, greatest: float) -> Callable[[str], float]:
    """An argparse type: a number from `least` to `greatest`."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= greatest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {greatest:g}")
        return value

    return number


def add_checkpoint_option(add: Callable) -> None:
    """Adds `--checkpoint`, for `inference.load`, by a parser's `add_argument`; None is the demo model."""
    text = "a workdir, one checkpoint in it, or an exported folder (default: the demo model of the package)"
    add("--checkpoint", metavar="W", help=text)


def add_track_option(add: Callable) -> None:
    """Adds `--audio-track`, for `media.video.choose`, by a parser's `add_argument`."""
    text = "which audio track of the file, from 1 (default: the first that is not silent)"
    add("--audio-track", type=whole(1), metavar="N", help=text)


def add_gain_options(add: Callable) -> None:
    """Adds `--audio-gain` and `--video-gain`, for `inference.load`, by a parser's `add_argument`."""
    for name, what, official in (("audio", "speech", 1.5), ("video", "a driving video", 0.8)):
        default = f"default: as stored with the weights, {official} for official ones; else 1"
        text = f"factor of the word vectors of {what} ({default})"
        add(f"--{name}-gain", type=float, metavar="G", help=text)


def refuse(program: str, sentence: str) -> NoReturn:
    """Ends the process with status 2."""
    print(f"{program}: {sentence}", file=sys.stderr)
    raise SystemExit(2)


def parse(program: str, about: str, argv: list[str], default: str = "") -> list[str]:
    """Parses the flags and returns the other arguments: the program's name. `--help` prints `about`.

    An invalid command line ends the process with one sentence and status 2.

    Args:
      default: config file where the command line names none; "" makes `--config` required.
    """
    if {"--help", "-h", "-help"} & set(argv):
        print(about)
        raise SystemExit(0)
    argv = located(argv, default)
    check(program, argv)
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        refuse(program, str(error))
    if len(rest) > 1:
        refuse(program, f"{rest[1]!r} is not a flag; give settings as --config.KEY=VALUE")
    return rest


def located(argv: list[str], default: str = "") -> list[str]:
    """The command line with `--config` naming a file that exists, if there is one.

    A relative path that does not exist is looked up beside the installed package, where the wheel puts `configs/`.
    (ml_collections opens the file itself, so the argument is rewritten before it is parsed.)
    """
    argv, index = list(argv), _config_index(argv)
    if index is None:
        # First, because it defines the flags --config.KEY.
        return [argv[0], f"--config={_installed(default)}", *argv[1:]] if default else argv
    if argv[index].startswith("--config="):
        argv[index] = "--config=" + _installed(argv[index].removeprefix("--config="))
    elif index + 1 < len(argv):
        argv[index + 1] = _installed(argv[index + 1])
    return argv


def _config_index(argv: list[str]) -> int | None:
    """Index of the argument `--config` or `--config=FILE`."""
    return next((i for i, argument in enumerate(argv) if argument.partition("=")[0] == "--config"), None)


def _installed(file: str) -> str:
    path, colon, argument = file.partition(":")
    found = Path(__file__).parents[1] / path
    return f"{found}{colon}{argument}" if path and not Path(path).exists() and found.is_file() else file


def check(program: str, argv: list[str]) -> None:
    """Refuses a missing or broken config file, and settings that it does not have."""
    names, index = [argument.partition("=") for argument in argv], _config_index(argv)
    file = "" if index is None else names[index][2] or (argv[index + 1] if index + 1 < len(argv) else "")
    if not file:
        refuse(program, "--config is missing; see --help")
    try:
        path, _, argument = file.partition(":")  # as config_flags: FILE:ARGUMENT
        known = list(_keys(runpy.run_path(path)["get_config"](*[argument] if argument else [])))
    except Exception as error:  # the file is the user's own code: it may raise anything
        refuse(program, f"--config={file} cannot be loaded ({type(error).__name__}: {error})")
    for name, _, _ in names:
        key = name.removeprefix("--").removeprefix("no").removeprefix("config.")
        if name.endswith("config." + key) and key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0)
            refuse(program, f"--config.{key}: there is no such setting; did you mean --config.{close[0]}?")


def _keys(config: Mapping, prefix: str = "") -> Iterator[str]:
    for name, value in config.items():
        yield prefix + name
        if isinstance(value, ConfigDict):
            yield from _keys(value, f"{prefix}{name}.")
