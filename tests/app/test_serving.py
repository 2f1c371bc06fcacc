"""The page over HTTP on loopback."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import av
import numpy as np
import pytest

from davs_jax.app.__main__ import main
from davs_jax.app.errors import AppError
from davs_jax.app.limits import Limits
from davs_jax.app.login import LOGIN, read_logins
from davs_jax.app.server import served
from davs_jax.app.studio import VIDEO, VOICE, Studio
from davs_jax.media.video import read_frames


@pytest.fixture
def client(address, gradio_client, tmp_path):
    return gradio_client.Client(address, verbose=False, download_files=str(tmp_path))


@pytest.fixture
def talk(client, gradio_client, folder):
    """Photo and driver, as named in the folder, through the page → the mp4's path."""

    def talk(photo: str, voice: str | None = None, video: str | None = None, mark: bool = False) -> Path:
        given = [gradio_client.handle_file(folder / name) if name else None for name in (photo, voice, video)]
        client.predict(given[0], api_name="/look")
        return Path(client.predict(VOICE if voice else VIDEO, *given[1:], False, mark, api_name="/talk"))

    return talk


def test_the_page_lets_the_browser_load_nothing_from_elsewhere(address):
    with urllib.request.urlopen(address) as answer:
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'self' ")
        body = answer.read().decode()
    assert "fonts.googleapis" not in body
    assert json.loads(urllib.request.urlopen(f"{address}config").read())["analytics_enabled"] is False


@pytest.mark.parametrize(("driver", "frames"), [({"voice": "speech.wav"}, 26), ({"video": "driver.mp4"}, 17)])
def test_a_photo_and_a_driver_become_a_video_labelled_as_generated(talk, driver, frames):
    with av.open(str(talk("photo.png", **driver))) as container:
        assert "AI-generated" in container.metadata["comment"]
        assert sum(1 for _ in container.decode(video=0)) == frames
        assert container.streams.audio


def test_the_label_is_written_into_the_image(talk):
    plain, marked = (
        next(read_frames(talk("photo.png", "speech.wav", mark=mark))).astype(int) for mark in (False, True)
    )
    difference = np.abs(plain - marked).max(-1)
    assert difference[-30:, :90].max() > 60
    assert difference[:200].max() < 30  # the encoder's noise


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("photo.png", "letter.wav"), "letter.wav: cannot be read as audio or video"),
        (("photo.png", "photo.png"), "photo.png: is an image, without audio"),
        (("photo.png", "long.wav"), "long.wav: lasts 25 s, and here 20 s are allowed; cut it"),
        (
            ("photo.png", None, "silent.mp4"),
            "silent.mp4: no face in any of .*; give a video that shows a face, or a voice instead",
        ),
        (("photo.png", None, None), "Give a driving video first"),
        (("letter.png", "speech.wav"), "Give a photo first"),
        (("plain.png", "speech.wav"), "No face is found here .*left eye"),
    ],
)
def test_invalid_input_is_refused_without_naming_folders_of_this_computer(talk, arguments, message):
    with pytest.raises(Exception, match=message) as raised:
        talk(*arguments)
    assert "/tmp" not in str(raised.value)


def test_a_file_that_is_no_image_is_named_beside_the_photo(client, gradio_client, folder):
    answer = client.predict(gradio_client.handle_file(folder / "letter.png"), api_name="/look")
    assert "letter.png: cannot be read as an image" in str(answer)
    assert str(folder) not in str(answer)


def test_a_file_that_is_too_large_is_turned_away(address):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n%s\r\n--x--\r\n'
    for megabytes, status in ((1, 200), (3, 413)):
        request = urllib.request.Request(f"{address}gradio_api/upload", body % bytes(megabytes * 2**20))
        request.add_header("Content-Type", "multipart/form-data; boundary=x")
        try:
            assert urllib.request.urlopen(request).status == status
        except urllib.error.HTTPError as error:
            assert error.code == status


def test_requests_beyond_the_queue_are_turned_away(model, gradio_client, folder, monkeypatch, free_port):
    busy, go_on = threading.Event(), threading.Event()

    def slow(self, *arguments) -> Path:
        busy.set()
        go_on.wait(30)
        return folder / "driver.mp4"

    monkeypatch.setattr(Studio, "talk", slow)
    with served(model, Limits(queue=1), port=free_port()) as address:
        given = [gradio_client.handle_file(folder / name) for name in ("photo.png", "speech.wav")]
        clients = [gradio_client.Client(address, verbose=False) for _ in range(3)]
        for client in clients:
            client.predict(given[0], api_name="/look")
        drive = (VOICE, given[1], None, False, False)
        first = clients[0].submit(*drive, api_name="/talk")
        assert busy.wait(20)
        waiting = clients[1].submit(*drive, api_name="/talk")
        with contextlib.suppress(TimeoutError):
            waiting.result(timeout=1)
        try:
            with pytest.raises(Exception, match=r"(?i)queue.*full"):
                clients[2].predict(*drive, api_name="/talk")
        finally:
            go_on.set()
        assert first.result(timeout=20)


def test_files_are_removed_after_a_while(model, gradio_client, folder, free_port):
    with served(model, Limits(keep=1), port=free_port()) as address:
        kept = Path(os.environ["GRADIO_TEMP_DIR"])
        client = gradio_client.Client(address, verbose=False)
        client.predict(gradio_client.handle_file(folder / "photo.png"), api_name="/look")
        assert any(path.is_file() for path in kept.rglob("*"))
        end = time.monotonic() + 15
        while any(kept.iterdir()):
            assert time.monotonic() < end
            time.sleep(0.1)
    assert not kept.exists()


def test_a_password_is_required(model, gradio_client, free_port):
    def login(address: str, user: str, word: str) -> int:
        form = urllib.parse.urlencode({"username": user, "password": word}).encode()
        try:
            return urllib.request.urlopen(f"{address}login", form).status
        except urllib.error.HTTPError as error:
            return error.code

    with served(model, port=free_port(), logins={"jane": "correct horse"}) as address:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{address}config")
        assert login(address, "jane", "wrong") == 400
        assert login(address, "nobody", "wrong") == 400
        assert login(address, "jane", "correct horse") == 200
        client = gradio_client.Client(address, auth=("jane", "correct horse"), verbose=False)
        assert client.view_api(return_format="dict")["named_endpoints"].keys() == {"/look", "/talk"}


def test_logins_come_from_a_file_or_the_environment(tmp_path, monkeypatch):
    (tmp_path / "logins").write_text("jane:a:b\n\njoe:c\n")
    assert read_logins(tmp_path / "logins") == {"jane": "a:b", "joe": "c"}
    monkeypatch.delenv(LOGIN, raising=False)
    assert read_logins(None) == {}
    monkeypatch.setenv(LOGIN, "jane:secret")
    assert read_logins(None) == {"jane": "secret"}
    monkeypatch.setenv(LOGIN, "secret")
    with pytest.raises(AppError, match=r"DAVS_LOGIN.*user:password") as raised:
        read_logins(None)
    assert "secret" not in str(raised.value)
    for text in ("", "jane\n", ":secret\n"):
        (tmp_path / "logins").write_text(text)
        with pytest.raises(AppError, match="user:password"):
            read_logins(tmp_path / "logins")
    with pytest.raises(AppError, match="cannot be read"):
        read_logins(tmp_path / "none")


def test_a_taken_port_is_named(model, address):
    port = urllib.parse.urlsplit(address).port
    with pytest.raises(AppError, match=f"port {port} cannot be used .*another --port"), served(model, port=port):
        pass


def test_an_address_of_another_computer_is_named(model, gradio_client, free_port):
    with (
        pytest.raises(AppError, match=r"cannot be used on 203\.0\.113\.9 .*--host"),
        served(model, host="203.0.113.9", port=free_port()),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http_proxy", "http://127.0.0.1:9"),  # nobody listens there
        ("HTTPS_PROXY", "socks5://127.0.0.1:9"),  # needs a package of its own
        ("ALL_PROXY", "foo://bar"),
        ("SSL_CERT_FILE", "/nowhere"),
    ],
)
def test_a_proxy_is_not_asked_for_the_pages_own_address(model, gradio_client, free_port, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    port = free_port()
    with served(model, port=port):
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert direct.open(f"http://127.0.0.1:{port}/").status == 200
    assert os.environ[name] == value


def test_whatever_the_start_meets_is_one_sentence(model, gradio_client, free_port, monkeypatch):
    import httpx

    def refused(*arguments, **options):
        raise httpx.ConnectTimeout("timed out")

    monkeypatch.setattr(httpx, "get", refused)
    with (
        pytest.raises(AppError, match=r"does not answer this computer \(timed out\); choose another --host"),
        served(model, port=free_port()),
    ):
        pass


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--checkpoint", "nowhere"), "nowhere holds no weights"),
        (("--login", "nowhere"), "nowhere: cannot be read .*user:password"),
    ],
)
def test_the_command_refuses_in_one_sentence(arguments, message):
    with pytest.raises(SystemExit, match=message) as stopped:
        main(list(arguments))
    assert str(stopped.value).startswith("davs-app: ")


def test_without_the_extra_the_command_says_how_to_get_it(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit, match="pip install"):
        main([])


def test_a_stopped_server_leaves_no_files(gradio_client, tmp_path, free_port):
    command = [sys.executable, "-m", "davs_jax.app", "--port", str(free_port())]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            address = process.stdout.readline().split()[0]
            assert urllib.request.urlopen(address).status == 200
            assert any(tmp_path.glob("davs-app-*"))
            process.terminate()
            assert process.wait(120) == 0
        finally:
            process.kill()
        assert "Traceback" not in process.stderr.read()
    assert not any(tmp_path.glob("davs-app-*"))
