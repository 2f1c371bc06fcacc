"""The page in a real browser; skipped with the reason where there is none."""

import json
import re
import time

import pytest

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
    visitor.give("#film", folder / "driver.mp4")
    visitor.until(lambda: visitor.all("#film video"))
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
    visitor.until(lambda: "letter.png: cannot be read as a picture" in visitor.text("#hint"))
    visitor.give("#photo", folder / "photo.png")
    visitor.until(lambda: "The face is found" in visitor.text("#hint"))
    visitor.click("#start")
    visitor.until(lambda: "Give a voice first" in visitor.text("body"))
    visitor.give("#voice", folder / "huge.wav")
    visitor.until(lambda: "maximum" in visitor.text("body"))
    visitor.give("#voice", folder / "letter.wav")
    visitor.until(lambda: visitor.all("#voice button[aria-label='Clear']") or "letter.wav" in visitor.text("#voice"))
    visitor.click("#start")
    visitor.until(lambda: "letter.wav: cannot be read as sound or video" in visitor.text("body"))
