"""The guard between the network and the page: it checks requests before Gradio sees them."""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from davs_jax.app import login
from davs_jax.app.errors import Refusal
from davs_jax.app.origins import Origins
from davs_jax.app.uploads import confined, uploaded

UPLOAD, LOGIN = "/gradio_api/upload", "/login"  # their bodies are forms; all others are JSON
READY = "/gradio_api/startup-events"  # which Gradio asks once, to find out that it serves
FILE = re.compile(r"/file[=/](?P<path>.*)", re.DOTALL)  # in the address of a request
FORM_BYTES = 2**16  # of an upload, without its files
JSON_BYTES = 2**20  # without files, which come by uploads, requests are short
# The browser loads nothing from elsewhere, whatever the page's code requests; no other page frames this one.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
HEADERS = ((b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff"))


@dataclass(frozen=True)
class Rules:
    """The rules for requests.

    Attributes:
      folder: of uploads and results, resolved; requests may name no other file.
      origins: the origins and hosts that requests may have.
      upload_bytes: of all files of one request together.
      login: whether visitors must log in.
    """

    folder: Path
    origins: Origins
    upload_bytes: int
    login: bool


class Guard:
    """An ASGI app that passes on only requests that the rules allow, and sets headers of every answer.

    All checks are here, because all requests pass here. Gradio's own are not enough: it checks only file objects that
    carry its mark, and some components take others; it answers foreign origins; it serves some addresses without login.
    """

    def __init__(self, app: Callable[..., Awaitable], rules: Rules):
        self._app = app
        self._rules = rules
        self.starting = True  # until the caller knows that the page serves

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":  # the page uses no other protocol
            return await send({"type": "websocket.close"})
        exchange = _Exchange(scope, receive, send)
        try:
            self._rules.origins.check(scope)
            if not self._admitted(scope):
                return await exchange.answer(200, login.PAGE.encode(), b"text/html; charset=utf-8")
            scope, receive = await self._checked(scope, exchange)
            await self._app(scope, receive, exchange.send)
        except Refusal as refusal:
            await exchange.refuse(refusal.status, refusal.told("page"))
        except Exception:
            if not exchange.refused:  # otherwise Gradio only missed the rest of the request
                raise

    def _admitted(self, scope) -> bool:
        """Whether the request is passed on; otherwise the login page is the answer.

        Raises:
          Refusal: neither, because the visitor is not logged in.
        """
        path, asks = scope["path"], scope["method"] in ("GET", "HEAD")
        ready = self.starting and path == READY and asks
        if not self._rules.login or login.signed_in(scope) or ready or path.rstrip("/") == LOGIN:
            return True
        if path == "/" and asks:
            return False
        raise Refusal(401, "Log in first.")

    async def _checked(self, scope, exchange):
        """The request as it is passed on: scope, receive.

        Raises:
          Refusal: it is not passed on.
        """
        if found := FILE.search(scope["path"]):
            uploaded(found["path"], self._rules.folder)
        path = scope["path"].rstrip("/")
        receive = exchange.limited(self._rules.upload_bytes + FORM_BYTES if path == UPLOAD else JSON_BYTES)
        if path in (UPLOAD, LOGIN) or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return scope, receive
        body = await _read(receive)
        if body:
            try:
                # Serialised again, so that Gradio cannot parse it differently.
                body = json.dumps(confined(json.loads(body), self._rules.folder)).encode()
            except (ValueError, RecursionError) as error:
                raise Refusal(400, "The request is not JSON.") from error
        return _with_length(scope, len(body)), _replayed(body, receive)


class _Exchange:
    """A request and its answer, which either Gradio or the guard gives."""

    def __init__(self, scope, receive, send):
        self._length = int(dict(scope["headers"]).get(b"content-length", 0))
        self._receive = receive
        self._send = send
        self._started = False
        self._more = True  # of the body is still to come
        self.refused = False

    async def receive(self):
        message = await self._receive()
        self._more = message.get("more_body", False)
        return message

    async def send(self, message) -> None:
        """Sends Gradio's answer, unless the request has been refused."""
        if self.refused:
            return
        if message["type"] == "http.response.start":
            self._started = True
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await self._send(message)

    async def answer(self, status: int, body: bytes, kind: bytes) -> None:
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": True})
        while self._more:  # closing the connection while the visitor sends would lose the answer
            await self.receive()
        await self.send({"type": "http.response.body", "body": b""})

    async def refuse(self, status: int, message: str) -> None:
        """Answers with a sentence, unless Gradio has begun to answer."""
        if not self._started:
            await self.answer(status, json.dumps({"detail": message}).encode(), b"application/json")
            self.refused = True

    def limited(self, most: int):
        """`receive` for a body of at most `most` bytes.

        Raises:
          Refusal: the request declares more. One that sends more without declaring it is refused on the way.
        """
        too_large = f"The request is larger than the {most / 2**20:.0f} MB that this page takes; give smaller files."
        if self._length > most:
            raise Refusal(413, too_large)
        size = 0

        async def receive():
            nonlocal size
            message = await self.receive()
            size += len(message.get("body", b""))
            if size > most:
                await self.refuse(413, too_large)
                return {"type": "http.disconnect"}
            return message

        return receive


async def _read(receive) -> bytes:
    chunks, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "The request is not complete.")
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


def _with_length(scope, size: int):
    headers = [(key, value) for key, value in scope["headers"] if key not in (b"content-length", b"transfer-encoding")]
    return {**scope, "headers": [*headers, (b"content-length", str(size).encode())]}


def _replayed(body: bytes, receive):
    """Gives the body that was read, and then the messages after it, such as a disconnect."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed():
        return waiting.pop() if waiting else await receive()

    return replayed
