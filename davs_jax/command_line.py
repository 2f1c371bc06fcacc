"""Command lines: numbers for argparse, config files and `--config.KEY=VALUE` for absl. Errors are one sentence."""

import argparse
import difflib
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn

from absl import flags
from ml_collections import ConfigDict


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


def parse(program: str, about: str, argv: list[str]) -> list[str]:
    """Parses the flags and returns what is none, the program's name; `--help` prints `about`.

    Whatever is wrong ends the process with one sentence and status 2.
    """
    if {"--help", "-h", "-help"} & set(argv):
        print(about)
        raise SystemExit(0)
    check(program, argv)
    try:
        rest = flags.FLAGS(argv)
    except flags.Error as error:
        refuse(program, str(error))
    if len(rest) > 1:
        refuse(program, f"{rest[1]!r} is not a flag; settings are given as --config.KEY=VALUE")
    return rest


def check(program: str, argv: list[str]) -> None:
    """Refuses a missing or broken configuration file, and settings that it does not have."""
    names, following = [argument.partition("=") for argument in argv], [*argv[1:], ""]
    files = [value or after for (name, _, value), after in zip(names, following, strict=True) if name == "--config"]
    if not files or not files[0]:
        refuse(program, "--config is missing; see --help")
    try:
        path, _, argument = files[0].partition(":")  # as config_flags: FILE:ARGUMENT
        known = list(_keys(runpy.run_path(path)["get_config"](*[argument] if argument else [])))
    except Exception as error:  # the file is the user's own code: it may raise anything
        refuse(program, f"--config={files[0]} cannot be loaded ({type(error).__name__}: {error})")
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
