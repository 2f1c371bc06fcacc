"""Somebody in front of a page, in a real browser without a window."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def started_browser() -> Iterator:
    """Chromium, driven by Selenium; skips the test where either is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="the browser test needs pip install selenium")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        pytest.skip("no chromium and chromedriver here (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1200,1300"):
        options.add_argument(f"--{argument}")
    for argument in ("use-fake-device-for-media-stream", "use-fake-ui-for-media-stream"):  # a microphone that beeps
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs[1]))
    browser.set_script_timeout(30)
    try:
        yield browser
    finally:
        browser.quit()


class Visitor:
    """Somebody in front of the page."""

    def __init__(self, browser, address: str):
        self.browser = browser
        browser.get(address)
        self.until(lambda: self.all("#photo input[type=file]"))

    def all(self, selector: str) -> list:
        return self.browser.find_elements("css selector", selector)

    def text(self, selector: str) -> str:
        return " ".join(element.text for element in self.all(selector))

    def until(self, true, seconds: float = 60):
        end = time.monotonic() + seconds
        while not (value := true()):
            assert time.monotonic() < end, self.text("body")
            time.sleep(0.1)
        return value

    def give(self, where: str, path: Path) -> None:
        self.until(lambda: self.all(f"{where} input[type=file]"))[0].send_keys(str(path))

    def click(self, selector: str) -> None:
        self.until(lambda: self.all(selector))[0].click()

    def click_photo(self, x: float, y: float) -> None:
        """A click at parts of the photo's width and height."""
        from selenium.webdriver import ActionChains

        image = self.all("#photo img")[0]
        place = (round((part - 0.5) * image.size[side]) for part, side in ((x, "width"), (y, "height")))
        ActionChains(self.browser).move_to_element_with_offset(image, *place).click().perform()

    def play(self) -> dict:
        """Plays the result for a second → what its video element says."""
        self.until(lambda: self.all("#result video"))
        return self.browser.execute_async_script("""
            const done = arguments[0], video = document.querySelector('#result video');
            video.muted = true;
            const start = () => video.play().then(() => setTimeout(() => done({
                ready: video.readyState, duration: video.duration, time: video.currentTime, width: video.videoWidth,
            }), 700)).catch(error => done({error: String(error)}));
            video.readyState >= 3 ? start() : video.addEventListener('canplay', start, {once: true});
        """)
