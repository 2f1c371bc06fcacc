"""A page for generation: a photo, a voice or a driving video, and the result to play and to keep.

    python -m davs_jax.app

It is served on this computer only, and loads nothing from elsewhere. Files that come and go are removed: after a while,
and all of them at the end. docs/security.md says what it promises.
"""

import argparse
import contextlib
import hmac
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from davs_jax import checkpoint
from davs_jax.app.folder import swept, temporary_folder
from davs_jax.app.guard import Guard, Rules
from davs_jax.app.origins import LOOPBACK, Origins, parse_origin
from davs_jax.app.studio import Limits, Studio, page
from davs_jax.checkpoint.export import DEMO, CheckpointError
from davs_jax.inference import Davs
from davs_jax.parallel.compilation import keep_compilations
from davs_jax.provenance import credentials
from davs_jax.provenance.credentials import ProvenanceError

INSTALL = "pip install 'davs_jax[app]'"
LOGIN = "DAVS_LOGIN"  # environment variable
STYLE = """
.gradio-container { max-width: 66rem !important; margin: 0 auto !important; }
.gradio-container h1 { font-size: 2rem; letter-spacing: -.02em; margin: 1.5rem 0 .25rem; }
.gradio-container h2 { font-size: 1.05rem; margin: .5rem 0; }
.soft { opacity: .75; }
"""


class AppError(ValueError):
    """The page cannot be served as asked; the message says what to do."""


@contextlib.contextmanager
def served(
    model: Davs,
    limits: Limits | None = None,
    host: str = "127.0.0.1",
    port: int = 7860,
    logins: dict[str, str] | None = None,
    signer=None,
    origins: Iterable[str] = (),
) -> Iterator[str]:
    """Serves the page within the block, and gives its address.

    Args:
      logins: passwords by user, where the page is to ask for them.
      signer: as `provenance.signer` gives it.
      origins: besides the page's own, those from which it may be used; as `parse_origin` gives them.

    Raises:
      AppError: the extra is not installed, or the port is taken.
    """
    limits = limits or Limits()
    with temporary_folder() as folder, _environment(str(folder)):
        try:
            import gradio as gr
        except ImportError as error:
            raise AppError(f"the page needs Gradio: {INSTALL}") from error
        studio = Studio(model, signer, limits, folder)
        rules = Rules(folder, Origins(host, tuple(origins)), limits.request_bytes, bool(logins))
        blocks = page(studio)

        @contextlib.asynccontextmanager
        async def guarded(server):
            """Outermost, before the first request: Gradio's own middleware answers some requests itself."""
            server.middleware_stack = Guard(server.middleware_stack, rules)
            yield

        plain = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
        try:
            server, address, _ = blocks.launch(
                server_name=f"[{host}]" if ":" in host else host,  # IPv6, as it stands in addresses
                server_port=port,
                auth=(lambda user, word: _matches(logins, user, word)) if logins else None,
                max_file_size=limits.upload_mb * 2**20,
                app_kwargs={"lifespan": guarded},
                theme=gr.themes.Soft(**plain),
                css=STYLE,
                footer_links=[],
                prevent_thread_lock=True,
                quiet=True,
                share=False,
                ssr_mode=False,
                mcp_server=False,
                pwa=False,
                run_history=False,
                enable_monitoring=False,
            )
        except OSError as error:
            raise AppError(f"--port {port}: cannot be used ({error}); choose another") from error
        try:
            if not isinstance(server.middleware_stack, Guard):
                raise AppError("this version of Gradio cannot be guarded; install the one in constraints.txt")
            with swept(folder, limits.keep):
                yield address
        finally:
            blocks.close(verbose=False)


@contextlib.contextmanager
def _environment(folder: str) -> Iterator[None]:
    """What Gradio and its libraries take from the environment: where uploads go; that nobody is called home."""
    wanted = {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def read_logins(path: Path | None) -> dict[str, str]:
    """Passwords by user, a line `user:password` each, from a file, or without one from $DAVS_LOGIN; {} if neither.

    Raises:
      AppError: the file cannot be read, or a line is not of this form.
    """
    source, text = f"${LOGIN}", os.environ.get(LOGIN, "")
    if path is not None:
        source = str(path)
        try:
            text = path.read_text()
        except (OSError, ValueError) as error:
            raise AppError(f"--login {path}: cannot be read ({error}); give a file of lines user:password") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    pairs = [line.partition(":")[::2] for line in lines]
    if not all(user and word for user, word in pairs) or (path is not None and not pairs):
        raise AppError(f"{source}: holds a line that is not user:password, or none; write one a line")  # never the line
    return dict(pairs)


def _matches(logins: dict[str, str], user: str, word: str) -> bool:
    """Whether the password is the user's; as slow for unknown users as for known ones."""
    right = hmac.compare_digest(logins.get(user, "").encode(), word.encode())
    return right and user in logins


def main(argv: list[str] | None = None) -> int:
    """Command line: serves the page until Ctrl-C."""
    args = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        logins = read_logins(args.login)
        if not logins and args.host not in LOOPBACK:
            _note(f"warning: whoever reaches {args.host} can use this page; ask for a password with --login")
        signer = credentials.signer(args.certificate, args.key, _note)
        limits = Limits(args.max_upload, args.max_seconds, keep=args.keep, request_mb=args.max_request)
        keep_compilations()
        model = Davs.on_this_host(*checkpoint.load_weights(args.checkpoint))
        with served(model, limits, args.host, args.port, logins, signer, args.allow_origin) as address:
            print(f"{address}  (Ctrl-C ends it)", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (AppError, CheckpointError, ProvenanceError) as error:
        raise SystemExit(f"davs-app: {error}") from error
    return 0


def _note(text: str) -> None:
    print(f"davs-app: {text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="davs-app", description="Serve a page that makes photos talk.")
    add = parser.add_argument
    add("--checkpoint", default=DEMO, metavar="W", help="as davs-generate takes it (default: the package's demo model)")
    add("--host", default="127.0.0.1", metavar="H", help="address to serve on (default: this computer only)")
    add("--port", default=7860, type=int, metavar="N", help="(default: 7860)")
    add(
        "--allow-origin",
        default=[],
        action="append",
        type=_origin,
        metavar="URL",
        help="where else the page may be used from, e.g. a proxy's https://name; may be repeated",
    )
    add("--login", type=Path, metavar="FILE", help=f"ask for a password: lines user:password; or set ${LOGIN} to one")
    add("--max-upload", default=Limits.upload_mb, type=_count, metavar="MB", help="of one file (default: %(default)s)")
    add("--max-request", type=_count, metavar="MB", help="of all files of one request (default: as --max-upload)")
    add("--max-seconds", default=Limits.seconds, type=_count, metavar="S", help="of a result (default: %(default)s)")
    add("--keep", default=Limits.keep, type=_count, metavar="S", help="seconds that files stay (default: %(default)s)")
    add("--certificate", type=Path, metavar="PEM", help="sign results with this certificate, as in davs-generate")
    add("--key", type=Path, metavar="PEM", help="its private key")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value}: must be 1 or more")
    return value


def _origin(text: str) -> str:
    try:
        return parse_origin(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from error


if __name__ == "__main__":
    sys.exit(main())
