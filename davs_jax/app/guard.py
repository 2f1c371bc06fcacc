"""What stands between the network and the page: it checks requests before Gradio sees them."""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from davs_jax.app import login
from davs_jax.app.origins import ForeignRequest, Origins
from davs_jax.app.uploads import NotUploaded, confined, uploaded

UPLOAD, LOGIN = "/gradio_api/upload", "/login"  # their bodies are forms; all others are JSON
READY = "/gradio_api/startup-events"  # how Gradio finds out that it serves
FILE = re.compile(r"/file[=/](?P<path>.*)", re.DOTALL)  # in an address that is asked for
FORM_BYTES = 2**16  # of an upload, around its files
JSON_BYTES = 2**20  # files come by uploads, and the rest is short
# Whatever the page's code may ask for, the browser loads nothing from elsewhere; no other page frames this one.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
HEADERS = ((b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff"))


class Refusal(Exception):
    """A request that is not passed on; `status` is HTTP's."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Rules:
    """Which requests come in.

    Attributes:
      folder: of uploads and results, resolved; requests name no other file.
      origins: who may ask, and whom.
      upload_bytes: of all files of one request together.
      login: whether visitors must have given a password.
    """

    folder: Path
    origins: Origins
    upload_bytes: int
    login: bool


class Guard:
    """ASGI: passes on only what the rules allow, and sets headers of every answer.

    It is the only place where this is checked, because all requests come through it: Gradio checks only file objects
    that carry its mark, and some components take those without; it answers foreign origins, and it serves some
    addresses without login.
    """

    def __init__(self, app: Callable[..., Awaitable], rules: Rules):
        self._app = app
        self._rules = rules

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
            await exchange.refuse(refusal.status, str(refusal))
        except (ForeignRequest, NotUploaded) as error:
            await exchange.refuse(403, str(error))
        except Exception:
            if not exchange.refused:  # else Gradio only missed the rest of the request
                raise

    def _admitted(self, scope) -> bool:
        """Whether the request goes on; else the login page is the answer.

        Raises:
          Refusal: neither, without login.
        """
        path, asks = scope["path"], scope["method"] in ("GET", "HEAD")
        if not self._rules.login or login.signed_in(scope) or (path == READY and asks) or path.rstrip("/") == LOGIN:
            return True
        if path == "/" and asks:
            return False
        raise Refusal(401, "Log in first.")

    async def _checked(self, scope, exchange):
        """The request as it is passed on: scope, receive.

        Raises:
          Refusal, NotUploaded: it is not.
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
                # Written anew, so that nobody behind this can read it differently.
                body = json.dumps(confined(json.loads(body), self._rules.folder)).encode()
            except NotUploaded:
                raise
            except (ValueError, RecursionError) as error:
                raise Refusal(400, "The request is not JSON.") from error
        return _with_length(scope, len(body)), _replayed(body, receive)


class _Exchange:
    """A request and its answer, which either Gradio gives or the guard."""

    def __init__(self, scope, receive, send):
        self._length = int(dict(scope["headers"]).get(b"content-length", 0))
        self._receive = receive
        self._send = send
        self._started = False
        self._more = True  # of the body is to come
        self.refused = False

    async def receive(self):
        message = await self._receive()
        self._more = message.get("more_body", False)
        return message

    async def send(self, message) -> None:
        """Sends an answer of Gradio, unless the request is refused by now."""
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
        while self._more:  # a connection that is closed while the visitor sends loses the answer
            await self.receive()
        await self.send({"type": "http.response.body", "body": b""})

    async def refuse(self, status: int, message: str) -> None:
        """Answers in a sentence, unless Gradio has begun to answer."""
        if not self._started:
            await self.answer(status, json.dumps({"detail": message}).encode(), b"application/json")
            self.refused = True

    def limited(self, most: int):
        """`receive` of a body of that many bytes at most.

        Raises:
          Refusal: the request says itself that it is longer; where it only is, it is refused while it comes.
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
    """Gives the body that was read, and then what comes after it: that the visitor left."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed():
        return waiting.pop() if waiting else await receive()

    return replayed
