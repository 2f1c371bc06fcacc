"""The fields of a record: `data_prep` writes them, `davs_jax.data` reads them.

Clips and faces are TFDS feature dictionaries. Images stay JPEG byte strings, so that a reader decodes only the frames
of its window (decoding every image on read is 10–40 times slower).
"""

from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

from davs_jax.constants import MFCC_WIDTH


def clip_features(words: Sequence[str], speakers: Sequence[str]) -> tfds.features.FeaturesDict:
    """Features of a clip record. A label of −1 means unknown.

    Args:
      words: the vocabulary, sorted; a word's label is its position in it.
      speakers: names of the speakers, where the corpus has them.
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
    """Features of an identity image.

    Args:
      identities: names of the people; the label is the position.
    """
    return tfds.features.FeaturesDict(
        {
            "face_id": tfds.features.Text(),
            "image": tfds.features.Text(),  # JPEG of the aligned face
            "identity": tfds.features.ClassLabel(names=list(identities)),
        }
    )
