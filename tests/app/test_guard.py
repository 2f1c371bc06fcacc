"""The guard of the running page: origins, hosts, sizes and logins."""

import http.client
import json
import socket
import urllib.parse

import pytest

from davs_jax.app.__main__ import main
from davs_jax.app.guard import FORM_BYTES, JSON_BYTES
from davs_jax.app.limits import Limits
from davs_jax.app.origins import ForeignRequest, Origins, parse_origin
from davs_jax.app.server import served

MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}


def ask(address: str, method: str = "GET", path: str = "/config", body=None, **headers):
    """One request → status, headers, body."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def form(*sizes: int) -> bytes:
    """An upload of files of so many bytes."""
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="%d.wav"\r\n\r\n%s\r\n'
    return b"".join(part % (i, bytes(size)) for i, size in enumerate(sizes)) + b"--x--\r\n"


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost@evil", "", "::1"]
)
def test_a_foreign_host_is_refused(address, method, host):
    host = host.format(port=urllib.parse.urlsplit(address).port)
    status, _, body = ask(address, method, Host=host)
    assert status == 403
    assert json.loads(body)["detail"].startswith(f"{host or 'No host'}: is not a name of this page")


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
@pytest.mark.parametrize("host", [None, "evil.example"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1.evil.example", "null", "http://localhost:1"]
)
def test_a_foreign_origin_is_refused_and_not_reflected(address, method, host, origin):
    named = {"Host": host} if host else {}
    status, headers, _ = ask(address, method, Origin=origin, **named, **{"Access-Control-Request-Method": "POST"})
    assert status == 403
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_loopback_names_are_accepted(address, name):
    own = f"{name}:{urllib.parse.urlsplit(address).port}"
    assert ask(address, Host=own)[0] == 200
    assert ask(address, Host=own, Origin=f"http://{own}")[0] == 200


def test_other_names_are_accepted_where_they_are_given():
    def accepted(origins: Origins, host: str, origin: str | None = None) -> bool:
        headers = [(b"host", host.encode()), *([(b"origin", origin.encode())] if origin else [])]
        try:
            origins.check({"headers": headers, "server": ("192.0.2.7", 7860)})
        except ForeignRequest:
            return False
        return True

    everywhere, proxied = Origins("0.0.0.0"), Origins("127.0.0.1", ("https://faces.example",))
    assert accepted(Origins("lab.example"), "lab.example:7860", "http://lab.example:7860")
    assert accepted(everywhere, "192.0.2.7:7860", "http://192.0.2.7:7860")  # where the request arrived
    assert not accepted(everywhere, "lab.example:7860")
    assert not accepted(everywhere, "192.0.2.8:7860")
    assert accepted(proxied, "127.0.0.1:7860", "https://faces.example")
    assert accepted(proxied, "faces.example", "https://faces.example")
    assert not accepted(proxied, "127.0.0.1:7860", "http://faces.example")
    assert not accepted(proxied, "127.0.0.1:7860", "https://faces.example:8443")
    assert not accepted(proxied, "faces.example", "https://evil.example")


def test_two_origins_are_none():
    scope = {
        "headers": [(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"origin", b"http://evil.example")]
    }
    with pytest.raises(ForeignRequest):
        Origins("127.0.0.1").check(scope)


def test_an_origin_is_written_as_browsers_write_it(capsys):
    assert parse_origin("HTTPS://Faces.Example/") == "https://faces.example"
    for text in (
        "faces.example",
        "ftp://faces.example",
        "https://faces.example/page",
        "https://a@b",
        "*",
        "https://a:b",
    ):
        with pytest.raises(SystemExit):
            main(["--allow-origin", text])
        assert f"{text}: is not an origin; give http(s)://name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/config"),
        ("GET", "/nothing"),
        ("POST", "/gradio_api/call/look"),
        ("GET", "/gradio_api/file=/x"),
    ],
)
def test_every_answer_forbids_to_guess_its_kind_and_to_frame_it(address, method, path):
    _, headers, _ = ask(address, method, path)
    assert headers.get_all("X-Content-Type-Options") == ["nosniff"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_an_error_inside_has_the_headers_too(address):
    body = json.dumps({"data": ["/not/a/photo"]})
    status, headers, _ = ask(address, "POST", "/gradio_api/run/look", body, **{"Content-Type": "application/json"})
    assert status == 500
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_without_login_there_is_only_the_login_page(model, gradio_client, free_port):
    with served(model, port=free_port(), logins={"jane": "correct horse"}) as address:
        status, _, page = ask(address, path="/")
        assert status == 200
        assert b'name="password"' in page
        assert b"look" not in page
        assert b"gradio" not in page
        paths = _paths() | {"/gradio_api/vibe-code", "/nothing"}
        assert len(paths) > 60
        for path in paths - {"/", "/login", "/login/"}:
            for method in ("GET", "POST", "HEAD", "OPTIONS"):
                status, _, body = ask(address, method, path)
                assert status == 401, (method, path)
                assert body in (b"", b'{"detail": "Log in first."}')
        assert ask(address, "POST", "/")[0] == 401
        assert ask(address, path="/login")[0] == 405

        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        status, headers, _ = ask(address, "POST", "/login", "username=jane&password=correct+horse", **kind)
        assert status == 200
        cookie = next(c for c in headers.get_all("Set-Cookie") if "unsecure" in c).split(";")[0]
        status, _, page = ask(address, path="/", Cookie=cookie)
        assert (status, b"/look" in page) == (200, True)
        assert ask(address, Cookie=cookie)[0] == 200
        assert ask(address, Cookie=cookie.replace("=", "=x"))[0] == 401


def _paths() -> set[str]:
    """The addresses that Gradio answers, as patterns."""
    import gradio
    from gradio.routes import App

    return set(App.create_app(gradio.Blocks()).openapi()["paths"])


def test_the_files_of_a_request_are_limited_together(model, gradio_client, free_port):
    with served(model, Limits(upload_mb=2, request_mb=3), port=free_port()) as address:
        for sizes, status in (((1,), 200), ((2,), 200), ((1, 1, 1), 200), ((2, 2), 413), ((1,) * 5, 413), ((3,), 413)):
            body = form(*(size * 2**20 for size in sizes))
            assert ask(address, "POST", "/gradio_api/upload", body, **MULTIPART)[0] == status, sizes
        body = form(*[2**20] * 5)
        status, _, answer = ask(address, "POST", "/gradio_api/upload", iter([body[:99], body[99:]]), **MULTIPART)
        assert status == 413  # without a length told beforehand
        assert b"larger than the 3 MB that this page takes" in answer
        assert ask(address)[0] == 200


def test_a_request_that_is_no_upload_is_limited(address):
    body = b'{"data": ["%s"]}' % bytes(JSON_BYTES).replace(b"\0", b"a")
    for content in (body, iter([body])):
        status, _, answer = ask(address, "POST", "/gradio_api/call/look", content)
        assert status == 413
        assert b"larger than the 1 MB" in answer


def test_a_file_as_large_as_allowed_fits_where_no_other_limit_is_given():
    assert Limits(upload_mb=2).request_bytes + FORM_BYTES > len(form(2 * 2**20))
    assert Limits(upload_mb=2, request_mb=5).request_bytes == 5 * 2**20


def test_a_page_for_the_network_serves_the_address_that_was_asked_and_given_names(model, gradio_client, free_port):
    port = free_port()
    with served(model, host="0.0.0.0", port=port, origins=["https://faces.example"]):
        address = f"http://127.0.0.1:{port}/"
        for host, status in (
            (f"127.0.0.1:{port}", 200),
            ("faces.example", 200),
            ("evil.example", 403),
            ("0.0.0.1", 403),
        ):
            assert ask(address, Host=host)[0] == status, host


def test_a_page_on_ipv6_loopback_answers_its_own_address(model, gradio_client, free_port):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with served(model, host="::1", port=free_port()) as address:
        assert address.startswith("http://[::1]:")
        assert ask(address)[0] == 200
        assert ask(address, Host="evil.example")[0] == 403
