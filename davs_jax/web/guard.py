"""What stands between the network and the page: it checks requests before Gradio sees them."""

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from davs_jax.web.uploads import NotUploaded, confined, uploaded

UPLOAD, LOGIN = "/gradio_api/upload", "/login"  # their bodies are forms; all others are JSON
FILE = re.compile(r"/file[=/](?P<path>.*)", re.DOTALL)  # in an address that is asked for
JSON_BYTES = 2**20  # files come by uploads, and the rest is short
# Whatever the page's code may ask for, the browser loads nothing from elsewhere.
HEADERS = {"content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"}


class Refusal(Exception):
    """A request that is not passed on; `status` is HTTP's."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Guard:
    """ASGI: passes to the page only what names no file but those of its folder, and sets headers of every answer.

    It is the only place where this is checked, because all requests come through it: Gradio checks only file objects
    that carry its mark, and some components take those without.
    """

    def __init__(self, app: Callable[..., Awaitable], folder: Path):
        self._app = app
        self._folder = folder

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def guarded(message):
            if message["type"] == "http.response.start":
                headers = [(key.encode(), value.encode()) for key, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *headers]}
            await send(message)

        try:
            scope, receive = await self._checked(scope, receive)
        except Refusal as refusal:
            return await _answer(guarded, refusal.status, str(refusal))
        except NotUploaded as error:
            return await _answer(guarded, 403, str(error))
        await self._app(scope, receive, guarded)

    async def _checked(self, scope, receive):
        """The request as it is passed on.

        Raises:
          Refusal, NotUploaded: it is not.
        """
        if found := FILE.search(scope["path"]):
            uploaded(found["path"], self._folder)
        if scope["method"] in ("GET", "HEAD", "OPTIONS") or scope["path"].rstrip("/") in (UPLOAD, LOGIN):
            return scope, receive
        body = await _body(receive)
        if body:
            try:
                # Written anew, so that nobody behind this can read it differently.
                body = json.dumps(confined(json.loads(body), self._folder)).encode()
            except NotUploaded:
                raise
            except (ValueError, RecursionError) as error:
                raise Refusal(400, "The request is not JSON.") from error
        return _with_length(scope, len(body)), _replayed(body, receive)


async def _body(receive) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > JSON_BYTES:
            raise Refusal(413, f"The request is larger than {JSON_BYTES} bytes; give files by uploads.")
        more = message.get("more_body", False)
    return b"".join(chunks)


def _with_length(scope, size: int):
    headers = [(key, value) for key, value in scope["headers"] if key not in (b"content-length", b"transfer-encoding")]
    return {**scope, "headers": [*headers, (b"content-length", str(size).encode())]}


def _replayed(body: bytes, receive):
    """Gives the body that was read, and then what comes after it: that the visitor left."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed():
        return waiting.pop() if waiting else await receive()

    return replayed


async def _answer(send, status: int, message: str) -> None:
    body = json.dumps({"detail": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
