"""Checks the origin and host of requests, against other sites in a visitor's browser and against DNS rebinding."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from davs_jax.app.errors import AppError, Refusal

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
ORIGIN = re.compile(r"https?://(?P<authority>[^/]+)", re.IGNORECASE)


class ForeignRequest(Refusal):
    """A request from another site, or to a name that is not this page's; the message says how to allow it."""

    def __init__(self, reason: str, remedy: str):
        super().__init__(403, reason, remedy)


def parse_origin(text: str) -> str:
    """An origin as browsers write it, from a user's text.

    Raises:
      AppError: it is not http(s)://name or http(s)://name:port.
    """
    plain = text.removesuffix("/").lower()
    if not (match := ORIGIN.fullmatch(plain)) or not _authority(match["authority"]):
        raise AppError(f"{text}: is not an origin", "give http(s)://name or http(s)://name:port")
    return plain


@dataclass(frozen=True)
class Origins:
    """Names of the page.

    Attributes:
      host: where it is served. Requests may name it, a loopback name, or the address at which they arrive.
      allowed: other origins by `parse_origin`, such as a proxy's. Requests may come from them and name their hosts.
    """

    host: str
    allowed: tuple[str, ...] = ()

    def check(self, scope) -> None:
        """Checks an ASGI request.

        Raises:
          ForeignRequest: its Host header names another server, or its Origin header another page.
        """
        values = {name: _header(scope, name) for name in (b"host", b"origin")}
        names = LOOPBACK | {self.host.strip("[]").lower(), (scope.get("server") or [""])[0]}
        names |= {urlsplit(origin).hostname for origin in self.allowed}
        host = _authority(values[b"host"] or "")
        if not host or host[0] not in names:
            raise ForeignRequest(
                f"{values[b'host'] or 'No host'}: is not a name of this page",
                "open it by its own address, or allow the name with --allow-origin.",
            )
        origin = values[b"origin"]
        if origin is None or origin.lower() in self.allowed:
            return
        match = ORIGIN.fullmatch(origin)
        asking = match and _authority(match["authority"])
        if not asking or asking[0] not in names or asking[1] != host[1]:  # another port may be another site
            raise ForeignRequest(f"{origin}: is not the origin of this page", "allow it with --allow-origin.")


def _header(scope, name: bytes) -> str | None:
    """A header's value; of a header given twice, a value that is not a valid name."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]
    return ", ".join(values) if values else None


def _authority(text: str) -> tuple[str, int | None] | None:
    """Name and port of `name:port`, in lower case; None for any other text."""
    try:
        parts = urlsplit(f"//{text}")
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (name, port) if name and parts.netloc == text and "@" not in text and " " not in text else None
