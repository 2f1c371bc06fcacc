"""Inputs of SyncNet's recorded numbers, seeded by name, so that two programs need not share a file."""

import numpy as np
import seeded

WINDOWS = 2


def windows() -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 `[2, 5, 224, 224, 3]` and MFCC float32 `[2, 20, 13]`."""
    blocks = seeded.noise("syncnet blocks", (WINDOWS, 5, 14, 14, 3)).repeat(16, 2).repeat(16, 3)
    frames = np.clip(np.round(127 + 50 * blocks), 0, 255).astype(np.uint8)
    return frames, (5 * seeded.noise("syncnet mfcc", (WINDOWS, 20, 13))).astype(np.float32)


def sounds() -> dict[str, np.ndarray]:
    """int16 audio: noise of a clip's length, one that ends within a column, one with silence, one too short."""
    loud = (3000 * seeded.noise("syncnet sound", (29 * 640,))).astype(np.int16)
    silent = loud.copy()
    silent[4000:9000] = 0
    return {"clip": loud, "ragged": loud[:10_001], "silent": silent, "short": loud[:123]}


def vectors() -> tuple[np.ndarray, np.ndarray]:
    """Face and audio vectors float32 `[24, 16]`, the audio two windows late."""
    source = seeded.noise("syncnet vectors", (26, 16)).astype(np.float32)
    return source[2:], source[:-2] + np.float32(0.3) * seeded.noise("syncnet error", (24, 16)).astype(np.float32)
