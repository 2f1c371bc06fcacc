"""What the tests of evaluation share: a model with random weights, and clips of which everything is known."""

import dataclasses

import numpy as np
import pytest

from davs_jax.data.sources import ClipSource, open_clips
from davs_jax.evaluate import __main__, context, generated, swap
from davs_jax.evaluate.recognition import Vectors
from support.tiny_model import random_model


@pytest.fixture
def spoken(clips_folder, monkeypatch) -> ClipSource:
    """A test split of five people who are not in the training split, with known mouth openings."""
    stored = open_clips(clips_folder, "train")
    opening = np.sin(np.arange(29, dtype=np.float32))
    clips = [stored.record(i % len(stored)) | {"speaker": i % 5, "mouth_opening": opening} for i in range(25)]
    splits = {"test": clips, "train": [clip | {"speaker": 5} for clip in clips[:4]], "val": clips[:5]}

    def opened(folder: str, split: str, words: tuple[str, ...] = ()) -> ClipSource:
        return dataclasses.replace(stored, split=split, data=splits[split])

    monkeypatch.setattr(context, "open_clips", opened)
    monkeypatch.setattr(__main__, "open_clips", opened)
    return opened(clips_folder, "test")


@pytest.fixture
def model(joint_config):
    return random_model(joint_config)


@pytest.fixture(autouse=True)
def same_weights_as_untrained(monkeypatch):
    """Fresh weights take half a minute to compile; the one test that needs them undoes this."""
    monkeypatch.setattr(context, "untrained", lambda model, seed: model)
    monkeypatch.setattr(generated, "SCORED_CLIPS", 2)  # detecting faces takes seconds
    monkeypatch.setattr(swap, "PAIRS", 6)  # of 200


@pytest.fixture
def vectors():
    """Audio says the word alone, video the person alone; 5 people × 4 words × 4 times."""
    rng = np.random.default_rng(0)
    people, words = np.divmod(np.arange(80) // 4, 4)

    def say(labels):
        wid = rng.normal(size=(8, 1, 256))[labels] + rng.normal(size=(80, 12, 256))
        return wid.astype(np.float32)

    return Vectors(np.arange(80), words, people, np.zeros((80, 29)), audio=say(words), video=say(people))
