"""Command line: serves a page in the browser, with a photo, a voice or a driving video, and the result.

    python -m davs_jax.app

The default address is reachable from this computer only.
"""

import argparse
import signal
import sys
from pathlib import Path

from davs_jax import command_line


@command_line.command
def main(argv: list[str] | None = None) -> int:
    """Serves the page until Ctrl-C or SIGTERM; returns 0."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:  # around the heavy imports too: they take seconds, in which Ctrl-C must end quietly
        args = _parser().parse_args(argv)
        from davs_jax.app import command

        with command_line.sentences("davs-app"):
            command.run(args)
    except KeyboardInterrupt:
        pass
    return 0


def _parser() -> argparse.ArgumentParser:
    from davs_jax.app.limits import Limits
    from davs_jax.app.login import LOGIN

    parser = argparse.ArgumentParser(prog="davs-app", description="Serve a page that generates talking-face videos.")
    add, positive = parser.add_argument, command_line.whole(1)
    command_line.add_checkpoint_option(add)
    add("--host", default="127.0.0.1", metavar="H", help="address to serve on (default: this computer only)")
    add("--port", default=7860, type=command_line.whole(), metavar="N", help="default: %(default)s")
    add(
        "--allow-origin",
        default=[],
        action="append",
        type=_origin,
        metavar="URL",
        help="where else the page may be used from, e.g. a proxy's https://name; may be repeated",
    )
    add("--login", type=Path, metavar="FILE", help=f"ask for a password: lines user:password; or set ${LOGIN} to one")
    default = "(default: %(default)s)"
    add("--max-upload", default=Limits.upload_mb, type=positive, metavar="MB", help=f"of one file {default}")
    add("--max-request", type=positive, metavar="MB", help="of all files of one request (default: as --max-upload)")
    add("--max-seconds", default=Limits.seconds, type=positive, metavar="S", help=f"of a result {default}")
    add("--keep", default=Limits.keep, type=positive, metavar="S", help=f"seconds that files stay {default}")
    add("--certificate", type=Path, metavar="PEM", help="sign results with this certificate, as in davs-generate")
    add("--key", type=Path, metavar="PEM", help="its private key")
    return parser


def _origin(text: str) -> str:
    from davs_jax.app.errors import AppError
    from davs_jax.app.origins import parse_origin

    try:
        return parse_origin(text)
    except AppError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
