"""What one record holds. `data_prep/` writes these, `data.py` reads them; nothing else defines a field.

Clips and faces are TFDS feature dictionaries. Pictures stay JPEG byte strings, so that a reader decodes only
the frames of its window (decoding every image on read is 10–40 times slower).
"""

from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

SAMPLE_RATE = 16_000  # Hz, mono
FPS = 25  # video frames per second
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS
CLIP_FRAMES = 29  # frames of one LRW clip, and of every word clip cut from other corpora
MFCC_WIDTH = 12  # coefficients 1…12
MFCC_LENGTH = 20  # columns of the window of one frame (200 ms)
MFCC_PER_FRAME = 4  # columns per video frame: a 10 ms hop at 25 fps


def stored_size(image_size: int) -> int:
    """Side in pixels of a stored frame for a network input of `image_size`: the official 260 per 256."""
    return image_size * 260 // 256


def mouth_box(image_size: int) -> tuple[slice, slice]:
    """Rows and columns of the mouth in an aligned face of side S: 170:234 × 64:192 at 256 px, in proportion."""
    rows, columns = ((round(edge * image_size / 256) for edge in span) for span in ((170, 234), (64, 192)))
    return slice(*rows), slice(*columns)


def clip_features(words: Sequence[str], speakers: Sequence[str]) -> tfds.features.FeaturesDict:
    """Features of a clip record; a label of −1 means unknown.

    Args:
      words: the vocabulary; a word's label is its position in this (sorted) list.
      speakers: names of the speakers, where the corpus knows them.
    """
    return tfds.features.FeaturesDict(
        {
            "clip_id": tfds.features.Text(),
            "word": tfds.features.ClassLabel(names=list(words)),
            "speaker": tfds.features.ClassLabel(names=list(speakers)),
            "frames": tfds.features.Sequence(tfds.features.Text()),  # T JPEGs of the aligned face
            "audio": tfds.features.Tensor(shape=(None,), dtype=np.int16),  # [T · 640], from the first frame's time
            "mfcc": tfds.features.Tensor(shape=(None, MFCC_WIDTH), dtype=np.float32),  # [4T + 16, 12]
            "mouth_opening": tfds.features.Tensor(shape=(None,), dtype=np.float32),  # [T] where known, else [0]
            "measures": tfds.features.Text(),  # JSON: what preparation measured (shift, jitter, found, …)
        }
    )


def face_features(identities: Sequence[str]) -> tfds.features.FeaturesDict:
    """Features of an identity image."""
    return tfds.features.FeaturesDict(
        {
            "face_id": tfds.features.Text(),
            "image": tfds.features.Text(),  # JPEG of the aligned face
            "identity": tfds.features.ClassLabel(names=list(identities)),
        }
    )
