"""A bucket on this machine: the part of Google Cloud Storage's JSON interface that gcsfs and ArrayRecord use.

Uploads must be in one piece, up to 5 MiB; gcsfs splits larger files.
"""

import json
import re
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit


@contextmanager
def served():
    """Yields (address of the server, its objects: content by `bucket/name`)."""
    objects: dict[str, bytes] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"objects": objects}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", objects
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]

    def do_GET(self):
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        found = re.fullmatch(r"/(?:download/)?(?:storage/v1/)?b/([^/]+)(?:/o(?:/(.+))?)?", parts.path)
        bucket, name = (unquote(part or "") for part in found.groups()) if found else ("", "")
        if found and not name:
            self._listing(bucket, query)
        elif (content := self.objects.get(f"{bucket}/{name}")) is None:
            self._json({"error": {"code": 404, "message": f"no object {self.path}"}}, 404)
        elif query.get("alt") == "media":
            self._media(content)
        else:
            self._json(_described(bucket, name, content))

    def do_POST(self):
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if parts.path.startswith("/resumed/"):
            _, _, bucket, name = parts.path.split("/", 3)
            return self._store(bucket, unquote(name), body)
        bucket = parts.path.partition("/v1/b/")[2].split("/")[0]
        if query["uploadType"] == "resumable":
            self.send_response(200)
            self.send_header("Location", f"http://{self.headers['Host']}/resumed/{bucket}/{quote(query['name'])}")
            return self._finish(b"", "text/plain")
        boundary = re.search(r"boundary=\"?([^\";]+)", self.headers["Content-Type"])[1].encode()
        about, content = (part.split(b"\n\n", 1)[1] for part in body.split(b"--" + boundary)[1:3])
        self._store(bucket, json.loads(about)["name"], content.removesuffix(b"\n"))

    def do_DELETE(self):
        bucket, _, name = urlsplit(self.path).path.partition("/v1/b/")[2].partition("/o/")
        there = self.objects.pop(f"{bucket}/{unquote(name)}", None)
        self._json({}, 404 if there is None else 204)

    def log_message(self, *_):
        pass

    def _listing(self, bucket: str, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        items, prefixes = [], set()
        for key in sorted(self.objects):
            its_bucket, _, name = key.partition("/")
            if its_bucket != bucket or not name.startswith(prefix):
                continue
            head, found, _ = name.removeprefix(prefix).partition(delimiter) if delimiter else ("", "", "")
            if found:
                prefixes.add(prefix + head + delimiter)
            else:
                items.append(_described(bucket, name, self.objects[key]))
        self._json({"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)})

    def _store(self, bucket: str, name: str, content: bytes) -> None:
        self.objects[f"{bucket}/{name}"] = content
        self._json(_described(bucket, name, content))

    def _media(self, content: bytes) -> None:
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        start, end, total = 0, len(content) - 1, len(content)
        if wanted and wanted[1]:
            start, end = int(wanted[1]), min(int(wanted[2] or end), end)
        elif wanted:
            start = max(0, total - int(wanted[2]))
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end}/{total}")
        self._finish(content[start : end + 1], "application/octet-stream")

    def _json(self, value: dict, status: int = 200) -> None:
        self.send_response(status)
        self._finish(b"" if status == 204 else json.dumps(value).encode(), "application/json")

    def _finish(self, content: bytes, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(ConnectionError):  # the client has closed the connection
            self.wfile.write(content)


def _described(bucket: str, name: str, content: bytes) -> dict:
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "size": str(len(content)),
        "generation": "1",
        "updated": "2026-01-01T00:00:00.000Z",
        "timeCreated": "2026-01-01T00:00:00.000Z",
    }
