"""Damaged files of many kinds, made from good ones by seed."""

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

UNUSUAL_NAMES = ("with space", "naïve ünïcode 口", "new\nline", "quote'\"", "-dash", "%d", "a:b", "..dots", "[glob]*")
UPRIGHT, TURNED = (65536, 0, 0, 0, 65536, 0), (0, 65536, 0, -65536, 0, 0)  # rows of mp4's display matrix
WHOLE, GOOD = "whole", "good"  # prefixes of names: unusual but valid files; ordinary files


def videos(source: Path, folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Writes damaged copies of a video (`.mp4`) into a folder, `count` by chance and some by design."""
    rng, data = np.random.default_rng(seed), source.read_bytes()
    for i in range(count):
        yield _written(folder / f"damaged {i:03d}.mp4", by_chance(data, rng))
    yield _written(folder / "empty.mp4", b"")
    yield _written(folder / "text.mp4", b"not a video at all\n" * 40)
    yield _written(folder / "image.mp4", b"\x89PNG\r\n\x1a\n" + rng.bytes(900))
    yield _written(folder / "noise.mp4", rng.bytes(20_000))
    (folder / "folder.mp4").mkdir()
    for i, name in enumerate(UNUSUAL_NAMES):
        yield _written(folder / f"{WHOLE} {i} {name}.mp4", data)
    yield _written(folder / "rotated.mp4", _rotated(data))
    os.symlink("loop.mp4", folder / "loop.mp4")
    os.symlink("gone", folder / "link to nothing.mp4")
    os.symlink("..", folder / "loop")
    yield from (folder / "loop.mp4", folder / "link to nothing.mp4")
    for name, how in REMADE.items():
        yield _remade(source, folder / f"{name}.mp4", **how)


def images(source: Path, folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Writes damaged copies of a photo (`.jpg`) into a folder, and valid photos of unusual kinds."""
    rng, data = np.random.default_rng(seed), source.read_bytes()
    for i in range(count):
        yield _written(folder / f"damaged {i:03d}.jpg", by_chance(data, rng))
    yield _written(folder / "empty.jpg", b"")
    yield _written(folder / "text.png", b"no image")
    yield _written(folder / "bomb.png", _huge_png())
    for mode, kind in (("CMYK", "jpg"), ("L", "png"), ("P", "png"), ("LA", "png"), ("1", "png"), ("RGBA", "png")):
        path = folder / f"mode {mode}.{kind}"
        Image.open(source).convert(mode).save(path)
        yield path
    for size in ((1, 1), (1, 900), (3, 2)):
        Image.new("RGB", size).save(folder / f"{size[0]} by {size[1]}.png")
        yield folder / f"{size[0]} by {size[1]}.png"
    for i, points in enumerate(([], [[0, 0]] * 5, [["a", 1]] * 5, {"x": 1}, [[1e300, 1]] * 5)):
        path = _written(folder / f"points {i}.jpg", data)
        path.with_suffix(".json").write_text(json.dumps({"points": points}))
        yield path
    path = _written(folder / "points 9.jpg", data)
    path.with_suffix(".json").write_bytes(b"\xff{")
    yield path


def shard(source: Path, rng: np.random.Generator, kind: str) -> None:
    """Damages a shard in place: `empty`, `half`, `flipped` or `noise`."""
    data = source.read_bytes()
    changed = {"empty": b"", "half": data[: len(data) // 2], "noise": rng.bytes(len(data))}
    source.write_bytes(changed[kind] if kind in changed else _flipped(data, rng, 40))


def by_chance(data: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, flipped in a few bits, overwritten in a stretch, a piece left out, or a piece doubled."""
    way, at = rng.integers(6), int(rng.integers(1, len(data)))
    length = int(min(2 ** rng.uniform(1, 14), len(data) - at))
    if way == 0:
        return data[:at]
    if way == 1:
        return _flipped(data, rng, int(2 ** rng.uniform(0, 10)))
    if way == 2:
        return data[:at] + rng.bytes(length) + data[at + length :]
    if way == 3:
        return data[:at] + data[at + length :]
    if way == 4:
        return data[: at + length] + data[at:]
    head = min(2000, len(data))  # where a container says what it is
    return _flipped(data[:head], rng, int(2 ** rng.uniform(0, 6))) + data[head:]


def _flipped(data: bytes, rng: np.random.Generator, bits: int) -> bytes:
    changed = bytearray(data)
    for bit in rng.integers(8 * len(data), size=bits):
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _rotated(data: bytes) -> bytes:
    before, header, after = data.partition(b"tkhd")
    return before + header + after.replace(struct.pack(">6i", *UPRIGHT), struct.pack(">6i", *TURNED), 1)


def _huge_png() -> bytes:
    """A header that promises 60,000 × 60,000 pixels."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82"


def _remade(
    source: Path,
    target: Path,
    pixels: str = "yuv420p",
    size: tuple[int, int] | None = None,
    frames: int = 75,
    audio: bool = True,
    video: bool = True,
    times: Callable[[int], int] = lambda i: i,
    rate: int = 16_000,
) -> Path:
    """Encodes a video again, with other settings."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        images = [frame.to_ndarray(format="rgb24") for frame in old.decode(video=0)][:frames]
        height, width = images[0].shape[:2]
        if video:
            stream = new.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            stream.width, stream.height = size or (width, height)
            stream.pix_fmt, stream.codec_context.time_base = pixels, Fraction(1, 1000)
        if audio:
            track = new.add_stream("aac", rate=rate, layout="mono")
        if video:
            for i, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame = frame.reformat(stream.width, stream.height, pixels)
                frame.pts, frame.time_base = times(40 * i), Fraction(1, 1000)
                new.mux(stream.encode(frame))
            new.mux(stream.encode(None))
        if audio:
            samples = np.random.default_rng(0).normal(0, 0.1, (1, rate * len(images) // 25)).astype(np.float32)
            for start in range(0, samples.shape[1], 1024):
                part = av.AudioFrame.from_ndarray(samples[:, start : start + 1024], format="fltp", layout="mono")
                part.sample_rate, part.pts, part.time_base = rate, start, Fraction(1, rate)
                new.mux(track.encode(part))
            new.mux(track.encode(None))
    return target


# Files whose names begin with WHOLE give a record; the others lack something.
REMADE = {
    "no audio": {"audio": False},
    "no video": {"video": False},
    "one frame": {"frames": 1},
    "28 frames": {"frames": 28},
    f"{WHOLE} 10 bit": {"pixels": "yuv420p10le"},
    f"{WHOLE} 4 4 4": {"pixels": "yuv444p"},
    f"{WHOLE} odd size": {"pixels": "yuv444p", "size": (241, 219)},
    f"{WHOLE} variable rate": {"times": lambda t: t + 7 * (t // 40 % 5)},
    f"{WHOLE} 48 kHz": {"rate": 48_000},
    "jumping clock": {"times": lambda t: t if t < 1000 else t + 9_000_000},
    "tiny": {"size": (16, 16)},
    "thin": {"size": (640, 2)},
}


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
