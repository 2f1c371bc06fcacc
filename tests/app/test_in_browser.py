"""The page in a real browser; skipped with the reason where there is none."""

import json
import os
import re
import time
from pathlib import Path

import pytest

from davs_jax.app.server import served
from davs_jax.app.uploads import NOT_UPLOADED
from support.visitor import Visitor, started_browser


@pytest.fixture(scope="module")
def browser(gradio_client):
    with started_browser() as browser:
        yield browser


@pytest.fixture
def visitor(browser, address) -> Visitor:
    return Visitor(browser, address)


def test_a_photo_and_a_voice_become_a_video_that_plays(visitor, folder, address):
    visitor.give("#photo", folder / "photo.png")
    visitor.until(lambda: "The face is found" in visitor.text("#hint"))
    visitor.give("#voice", folder / "speech.wav")
    visitor.until(lambda: "0:01" in visitor.text("#voice"))
    visitor.click("#start")
    seen = visitor.play()
    assert seen["ready"] >= 3
    assert seen["duration"] == pytest.approx(1.04, abs=0.05)
    assert seen["time"] > 0.3
    assert seen["width"] == 300
    asked = [json.loads(entry["message"])["message"] for entry in visitor.browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in asked if m["method"] == "Network.requestWillBeSent"]
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def test_five_clicks_set_the_points_of_a_face_that_is_not_found(visitor, folder):
    visitor.give("#photo", folder / "plain.png")
    for name, place in (
        ("left eye", (0.4, 0.4)),
        ("right eye", (0.6, 0.4)),
        ("nose", (0.5, 0.5)),
        ("left mouth corner", (0.42, 0.62)),
        ("right mouth corner", (0.58, 0.62)),
    ):
        visitor.until(lambda name=name: f"Click on the {name}" in visitor.text("#hint"))
        visitor.click_photo(*place)
    visitor.until(lambda: "The five points are set" in visitor.text("#hint"))
    visitor.give("#voice", folder / "speech.wav")
    visitor.until(lambda: "0:01" in visitor.text("#voice"))
    visitor.click("#start")
    assert visitor.play()["time"] > 0.3


def test_a_driving_video_works_too(visitor, folder):
    visitor.give("#photo", folder / "photo.png")
    visitor.until(lambda: "The face is found" in visitor.text("#hint"))
    visitor.click("#kind label:nth-of-type(2)")
    visitor.give("#driving-video", folder / "driver.mp4")
    visitor.until(lambda: visitor.all("#driving-video video"))
    visitor.click("#start")
    assert visitor.play()["duration"] == pytest.approx(0.68, abs=0.05)


def test_the_microphone_drives(visitor, folder):
    visitor.give("#photo", folder / "photo.png")
    visitor.until(lambda: "The face is found" in visitor.text("#hint"))
    visitor.click("#voice button[aria-label='Record audio']")
    visitor.click("#voice button.record")
    time.sleep(1.5)
    visitor.click("#voice button.stop-button")
    visitor.until(lambda: re.search("0:(0[1-9]|1[0-9])", visitor.text("#voice")))
    visitor.click("#start")
    assert visitor.play()["time"] > 0.3


def test_wrong_files_give_a_message_to_read(visitor, folder):
    visitor.give("#photo", folder / "letter.png")
    visitor.until(lambda: "letter.png: cannot be read as an image" in visitor.text("#hint"))
    visitor.give("#photo", folder / "photo.png")
    visitor.until(lambda: "The face is found" in visitor.text("#hint"))
    visitor.click("#start")
    visitor.until(lambda: "Give a voice first" in visitor.text("body"))
    visitor.give("#voice", folder / "huge.wav")
    visitor.until(lambda: "maximum" in visitor.text("body"))
    visitor.give("#voice", folder / "letter.wav")
    visitor.until(lambda: visitor.all("#voice button[aria-label='Clear']") or "letter.wav" in visitor.text("#voice"))
    visitor.click("#start")
    visitor.until(lambda: "letter.wav: cannot be read as audio or video" in visitor.text("body"))


def test_a_file_that_is_removed_by_now_gives_a_message_to_read(visitor, folder):
    visitor.give("#photo", folder / "photo.png")
    visitor.until(lambda: "The face is found" in visitor.text("#hint"))
    visitor.give("#voice", folder / "speech.wav")
    visitor.until(lambda: "0:01" in visitor.text("#voice"))
    for path in Path(os.environ["GRADIO_TEMP_DIR"]).rglob("speech.wav"):
        path.unlink()
    visitor.click("#start")
    visitor.until(lambda: NOT_UPLOADED in visitor.text("body"))


def test_the_page_comes_after_the_login(browser, model, free_port):
    def log_in(word: str) -> None:
        for name, text in (("username", "jane"), ("password", word)):
            field = browser.find_element("name", name)
            field.clear()
            field.send_keys(text)
        browser.find_element("css selector", "button").click()

    with served(model, port=free_port(), logins={"jane": "correct horse"}) as address:
        browser.get(address)
        assert not browser.find_elements("id", "photo")
        log_in("wrong")
        wait = pytest.importorskip("selenium.webdriver.support.ui").WebDriverWait(browser, 20)
        wait.until(lambda b: "User or password is wrong." in b.find_element("css selector", "[role=alert]").text)
        log_in("correct horse")
        wait.until(lambda b: b.find_elements("css selector", "#photo input[type=file]"))
