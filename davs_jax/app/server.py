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
from davs_jax.errors import first_line
from davs_jax.talker import Talker

INSTALL = "pip install 'davs_jax[app]'"
PROXIES = ("http_proxy", "https_proxy", "all_proxy")  # in either case
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
STYLE = """
.gradio-container { max-width: 66rem !important; margin: 0 auto !important; }
.gradio-container h1 { font-size: 2rem; letter-spacing: -.02em; margin: 1.5rem 0 .25rem; }
.gradio-container h2 { font-size: 1.05rem; margin: .5rem 0; }
.soft { opacity: .75; }
"""


@contextlib.contextmanager
def served(
    model: Talker,
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
      signer: as `signing.signer` returns it.
      origins: other origins from which the page may be used, by `parse_origin`.

    Raises:
      AppError: the extra is not installed, the port is taken, or the page does not answer.
    """
    limits = limits or Limits()
    with temporary_folder() as folder, _environment(str(folder)):
        try:
            import gradio as gr
        except ImportError as error:
            raise AppError(f"the page needs Gradio ({first_line(error)})", INSTALL) from error
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
            reason = f"port {port} cannot be used on {host} (it is taken, or not one of this computer)"
            raise AppError(reason, "choose another", command_line="choose another --port or --host") from error
        except Exception as error:  # Gradio asks its own address whether it serves; HTTP's errors have many kinds
            blocks.close(verbose=False)
            reason = f"the page at {host}, port {port}, does not answer this computer ({first_line(error)})"
            raise AppError(reason, "choose another address", command_line="choose another --host") from error
        try:
            if not isinstance(server.middleware_stack, Guard):
                raise AppError("this version of Gradio cannot be guarded", "install the one in constraints.txt")
            server.middleware_stack.starting = False
            with swept(folder, limits.keep):
                yield address
        finally:
            blocks.close(verbose=False)


@contextlib.contextmanager
def _environment(folder: str) -> Iterator[None]:
    """Sets environment variables that Gradio and its libraries read: the folder of uploads; no telemetry; no proxy.

    The page asks its own address only, which a proxy does not reach; and an HTTP client refuses to be made, however
    little it is used, where a variable names a proxy or certificates that it cannot use.
    """
    wanted = {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    wanted |= {"NO_PROXY": "*", "no_proxy": "*"}
    unwanted = [name for name in os.environ if name.lower() in PROXIES or name in CERTIFICATES]
    before = {name: os.environ.get(name) for name in (*wanted, *unwanted)}
    for name in unwanted:
        del os.environ[name]
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
