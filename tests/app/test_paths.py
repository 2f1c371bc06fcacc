"""Requests that name files which nobody uploaded: every endpoint of the running page gives the same answer."""

import http.client
import json
import os
import socket
import urllib.parse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from PIL import Image

from davs_jax.app.uploads import NOT_UPLOADED, NotUploaded, confined, uploaded

MARK = {"meta": {"_type": "gradio.FileData"}}
REFUSED = (403, json.dumps({"detail": NOT_UPLOADED}).encode())
NOWHERE = "davs-nowhere.invalid"


@pytest.fixture(scope="module")
def uploads(address) -> Path:
    """The folder of the running page."""
    return Path(os.environ["GRADIO_TEMP_DIR"])


@pytest.fixture(scope="module")
def secret(tmp_path_factory) -> Path:
    """An image outside the page's folder."""
    path = tmp_path_factory.mktemp("private") / "secret.png"
    Image.effect_noise((64, 64), 90).save(path)
    return path


@pytest.fixture(scope="module")
def wrong(secret, uploads) -> list[str]:
    """Paths that nobody may name: existing, missing, folders, relative, linked, addresses."""
    (uploads / "link.png").symlink_to(secret)
    (uploads / "linked").symlink_to(secret.parent)
    (uploads / "circle").symlink_to(uploads / "circle")
    (uploads / "missing-link.png").symlink_to(secret.with_name("missing.png"))
    paths = [
        secret,
        secret.parent,
        secret.with_name("missing.png"),
        "/etc/passwd",
        "/",
        uploads,
        uploads / "missing.png",
        uploads / "link.png",
        uploads / "linked" / secret.name,
        uploads / "circle",
        uploads / "missing-link.png",
        f"{uploads}/../{secret.relative_to(uploads.parent)}",
        f"/{uploads}/../../{secret}",
        f"{uploads}-more/secret.png",
        os.path.relpath(secret),
        os.path.relpath(uploads / "link.png"),
        "~/.bashrc",
        f"{secret}\0.png",
        "",
        f"file://{secret}",
        f"http://{NOWHERE}/secret.png",
        f"https://{NOWHERE}{uploads}/secret.png",
        f"//{NOWHERE}/secret.png",
        "data:image/png;base64,AAAA",
    ]
    return [str(path) for path in paths]


def forms(path: str) -> Iterator[object]:
    """The ways in which a request can name a file, the plain ones first."""
    yield {"path": path}
    yield {"path": path, **MARK}
    yield {"url": path}
    yield {"path": None, "url": path, **MARK}
    yield {"video": {"path": path, **MARK}, "subtitles": None}
    yield [[{"path": path, "is_stream": True}]]
    yield {"value": {"deep": [{"path": path, "orig_name": "photo.png"}]}}


class Caller:
    """Requests over one connection."""

    def __init__(self, address: str):
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc)

    def __call__(self, method: str, path: str, body=None) -> tuple[int, bytes]:
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def call(address) -> Caller:
    return Caller(address)


@pytest.fixture
def endpoints(call) -> list[dict]:
    status, config = call("GET", "/config")
    assert status == 200
    dependencies = json.loads(config)["dependencies"]
    status, info = call("GET", "/gradio_api/info")
    named = {f"/{d['api_name']}" for d in dependencies if d["api_visibility"] == "public"}
    assert named == json.loads(info)["named_endpoints"].keys() == {"/look", "/talk"}
    return dependencies


@pytest.fixture
def names_looked_up(monkeypatch) -> set:
    """Hosts for which this process, the page included, asks the resolver: whoever fetches a URL does."""
    names, real = set(), socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **k: names.add(host) or real(host, *rest, **k))
    return names


def requests(endpoint: dict, value: object) -> Iterator[tuple[str, dict]]:
    """Every request that gives the value to one input of the endpoint, or beside the inputs → address, body."""
    number, name = len(endpoint["inputs"]), endpoint["api_name"]
    for place in range(number):
        data = [value if i == place else None for i in range(number)]
        yield "/gradio_api/queue/join", {"data": data, "fn_index": endpoint["id"], "session_hash": "s"}
        for route in ("call", "run", "api"):
            yield f"/gradio_api/{route}/{name}", {"data": data}
        yield f"/gradio_api/call/v2/{name}", {f"param_{place}": value}
    body = {"data": [None] * number, "fn_index": endpoint["id"], "session_hash": "s", "event_data": value}
    yield "/gradio_api/queue/join", body
    yield "/gradio_api/stream/e", body


def test_all_endpoints_refuse_files_that_nobody_uploaded_in_the_same_words(
    endpoints, call, wrong, secret, uploads, names_looked_up
):
    before = sorted(uploads.rglob("*"))
    asked = 0
    for endpoint in endpoints:
        for path in wrong:
            for value in islice(forms(path), None if path == str(secret) else 3):
                for address, body in requests(endpoint, value):
                    assert call("POST", address, body) == REFUSED, (address, body)
                    asked += 1
    assert asked > 1000
    assert sorted(uploads.rglob("*")) == before
    assert names_looked_up <= {"127.0.0.1"}


@pytest.mark.parametrize("route", ["file=", "file/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_addresses_of_files_give_the_same_answer(call, wrong, names_looked_up, route, method):
    for path in wrong:
        for quoted in (urllib.parse.quote(path), urllib.parse.quote(path, safe="")):
            status, body = call(method, f"/gradio_api/{route}{quoted}")
            assert (status, body) == (REFUSED[0], REFUSED[1] if method == "GET" else b""), path
    assert names_looked_up <= {"127.0.0.1"}


def test_a_component_server_function_cannot_be_given_a_form(call):
    """A form could carry paths that are not looked at."""
    connection = call._connection
    connection.request(
        "POST", "/gradio_api/component_server", b"--x--", {"Content-Type": "multipart/form-data; boundary=x"}
    )
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())) == (400, {"detail": "The request is not JSON."})


@pytest.mark.parametrize("body", [b"{", b"[" * 200_000, b"\xff\xfe\xfd", b'{"data": [' + b"9" * 5000 + b"]}"])
def test_what_is_not_json_is_refused(call, body):
    connection = call._connection
    connection.request("POST", "/gradio_api/call/look", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())) == (400, {"detail": "The request is not JSON."})


def test_what_was_uploaded_is_taken_with_or_without_the_mark(call, uploads, folder):
    own = uploads / "photo.png"
    own.write_bytes((folder / "photo.png").read_bytes())
    for mark in ({}, MARK):
        body = {"data": [{"path": str(own), "url": f"http://{NOWHERE}/photo.png", **mark}]}
        status, answer = call("POST", "/gradio_api/call/look", body)
        assert status == 200
        status, events = call("GET", f"/gradio_api/call/look/{json.loads(answer)['event_id']}")
        assert status == 200
        assert b"event: complete" in events
        assert b"The face is found" in events
    assert call("GET", f"/gradio_api/file={own}") == (200, own.read_bytes())


def test_a_path_outside_the_folder_is_refused_without_a_look_at_it(tmp_path, monkeypatch):
    def touched(*arguments, **options):
        raise AssertionError("the file system was asked")

    monkeypatch.setattr(os, "lstat", touched)
    monkeypatch.setattr(os, "stat", touched)
    monkeypatch.setattr(Path, "resolve", touched)
    for path in ("/etc/passwd", f"{tmp_path}/../x", f"{tmp_path}-more/x", "x", "", None, 3, ["/etc"]):
        with pytest.raises(NotUploaded):
            uploaded(path, tmp_path)


def test_file_objects_are_reduced_to_resolved_paths(tmp_path):
    (tmp_path / "a.png").write_bytes(b"a")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    given = {"data": [{"path": f"{tmp_path}/x/../b.png", "url": "http://elsewhere", "size": 1}, "text", 1.5, None]}
    with pytest.raises(NotUploaded):
        confined(given, tmp_path)
    given["data"][0]["path"] = f"{tmp_path}/b.png"
    assert confined(given, tmp_path)["data"] == [
        {"path": f"{tmp_path}/a.png", "url": None, "size": 1},
        "text",
        1.5,
        None,
    ]


def test_paths_as_plain_text_are_not_opened(endpoints, call, secret, uploads):
    """Only objects name files; a text in their place is an error that does not depend on what it says."""
    before = sorted(uploads.rglob("*"))
    for endpoint in endpoints:
        if endpoint["api_visibility"] != "public":
            continue
        number = len(endpoint["inputs"])
        for place in range(number):
            answers = set()
            for path in (str(secret), str(secret.parent), f"{secret}-missing", f"http://{NOWHERE}/x"):
                data = [path if i == place else None for i in range(number)]
                status, answer = call("POST", f"/gradio_api/run/{endpoint['api_name']}", {"data": data})
                answers.add((status, answer.replace(path.encode(), b"PATH")))
            assert len(answers) == 1, answers
            assert answers.pop()[0] == 500
    assert sorted(uploads.rglob("*")) == before
