"""A portrait, speech and talking videos for the tests of generation, in a folder whose name has a space."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import wavfile
from skimage import data

from davs_jax.media import video

POINTS = ((124, 100), (176, 100), (150, 135), (127, 156), (173, 157))  # of the portrait's face


def portrait() -> np.ndarray:
    """uint8 `[300, 300, 3]`, one face."""
    return data.astronaut()[:300, 75:375]


def sound(seconds: float, rate: int = 16_000) -> np.ndarray:
    """A tone modulated at the rate of syllables, float32 `[N]`."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * 300 * time) * np.sin(2 * np.pi * 3 * time)).astype(np.float32)


def write(folder: Path) -> Path:
    """photo.png, speech.wav of 1.03 s, driver.mp4 of 17 frames with audio, silent.mp4 of one faceless frame."""
    image, speech = portrait(), sound(1.03)
    Image.fromarray(image).save(folder / "photo.png")
    wavfile.write(folder / "speech.wav", 16_000, speech)
    with video.Writer(folder / "driver.mp4", samples=speech) as writer:
        for i in range(17):
            writer.write(np.roll(image, i // 3, 1))
    with video.Writer(folder / "silent.mp4") as writer:
        writer.write(np.full((64, 64, 3), 90, np.uint8))
    return folder
