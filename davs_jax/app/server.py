"""Serves the page.

It loads nothing from elsewhere. Uploads and results are removed after a while, and all of them at the end.
docs/security.md states its promises.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator

from davs_jax.app.errors import AppError
from davs_jax.app.guard import Guard, Rules
from davs_jax.app.limits import Limits
from davs_jax.app.login import matches
from davs_jax.app.origins import Origins
from davs_jax.app.studio import Studio, page
from davs_jax.app.upload_folder import swept, temporary_folder
from davs_jax.inference import Davs

INSTALL = "pip install 'davs_jax[app]'"
STYLE = """
.gradio-container { max-width: 66rem !important; margin: 0 auto !important; }
.gradio-container h1 { font-size: 2rem; letter-spacing: -.02em; margin: 1.5rem 0 .25rem; }
.gradio-container h2 { font-size: 1.05rem; margin: .5rem 0; }
.soft { opacity: .75; }
"""


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
    """Serves the page within the block, and yields its address.

    Args:
      logins: passwords by user; {} or None asks for none.
      signer: as `credentials.signer` returns it.
      origins: other origins from which the page may be used, by `parse_origin`.

    Raises:
      AppError: the extra is not installed, or the port is taken.
    """
    limits = limits or Limits()
    with temporary_folder() as folder, _environment(str(folder)):
        try:
            import gradio as gr
        except ImportError as error:
            raise AppError("the page needs Gradio", INSTALL) from error
        studio = Studio(model, signer, limits, folder)
        rules = Rules(folder, Origins(host, tuple(origins)), limits.request_bytes, bool(logins))
        blocks = page(studio)

        @contextlib.asynccontextmanager
        async def guarded(server):
            """Puts the guard outermost before the first request: Gradio's middleware answers some requests itself."""
            server.middleware_stack = Guard(server.middleware_stack, rules)
            yield

        plain = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
        try:
            server, address, _ = blocks.launch(
                server_name=f"[{host}]" if ":" in host else host,  # IPv6, as in URLs
                server_port=port,
                auth=(lambda user, word: matches(logins, user, word)) if logins else None,
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
        except (OSError, OverflowError) as error:
            raise AppError(
                f"port {port} cannot be used ({error})", "choose another", command_line="choose another --port"
            ) from error
        try:
            if not isinstance(server.middleware_stack, Guard):
                raise AppError("this version of Gradio cannot be guarded", "install the one in constraints.txt")
            with swept(folder, limits.keep):
                yield address
        finally:
            blocks.close(verbose=False)


@contextlib.contextmanager
def _environment(folder: str) -> Iterator[None]:
    """Sets environment variables that Gradio and its libraries read: the folder of uploads; no telemetry."""
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
