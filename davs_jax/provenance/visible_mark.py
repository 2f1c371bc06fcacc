"""A visible mark in the corner of a generated image."""

import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

TEXT = "AI-generated"
HEIGHT, SMALLEST = 1 / 26, 9  # of the letters: share of the image's shorter side; least, in pixels
OPACITY = 0.6  # of the background of the letters


def marked(image: np.ndarray) -> np.ndarray:
    """A copy of uint8 `[H, W, 3]` with the mark in its lower left corner."""
    rows, columns, mark = _mark(*image.shape[:2])
    out = image.copy()
    letters, opacity = mark[..., :3], mark[..., 3:]
    out[rows, columns] = np.rint(out[rows, columns] * (1 - opacity) + letters * opacity).astype(np.uint8)
    return out


@functools.lru_cache(maxsize=2)
def _mark(height: int, width: int) -> tuple[slice, slice, np.ndarray]:
    """Rows and columns of the mark, and its float32 `[h, w, 4]`: colour 0…255 and opacity 0…1."""
    size = max(SMALLEST, min(height, width) * HEIGHT)
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox(TEXT)
    pad = round(size / 2)
    image = Image.new("RGBA", (round(right - left) + 2 * pad, round(bottom - top) + 2 * pad), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, image.width - 1, image.height - 1), pad, (0, 0, 0, round(255 * OPACITY)))
    draw.text((pad - left, pad - top), TEXT, (255, 255, 255, 255), font)
    image.thumbnail((width, height), Image.Resampling.LANCZOS)  # an image narrower than the text
    margin = min(pad, (width - image.width) // 2, (height - image.height) // 2)
    mark = np.asarray(image, np.float32) / (1, 1, 1, 255)
    bottom = height - margin
    return slice(bottom - image.height, bottom), slice(margin, margin + image.width), mark.astype(np.float32)
