import types

import numpy as np
import pytest

from davs_jax.ablations import measure
from davs_jax.data.sources import open_clips
from davs_jax.errors import DataError
from davs_jax.evaluate.sections import Probe, Probes
from support.tiny_model import random_model


def probes(chance: float) -> Probes:
    found = Probe(accuracy=1.0, low=1.0, high=1.0, chance=chance, clips=40, classes=2)
    return Probes(**vars(found), mlp=found)


def test_persons_are_not_probed_where_one_has_most_of_the_clips(monkeypatch):
    weights = types.SimpleNamespace(missing=lambda encoder: "nothing", has=lambda *networks: False, clip_audio=None)
    found = {"word_from_pid": probes(0.1), "person_from_pid": probes(0.125), "person_from_video_wid": probes(0.9)}
    monkeypatch.setattr(measure, "eval_batches", lambda source, size, audio: [])
    monkeypatch.setattr(measure.recognition, "encode", lambda *args, **kwargs: None)
    monkeypatch.setattr(measure.disentanglement, "probes", lambda *args: (found, {}))
    asked = {f"probe/{name}{kind}" for name in ("word_from_pid", "person_from_pid") for kind in ("", "_mlp")}
    asked.add(measure.GUESS)
    assert set(measure.measure(weights, None)) == asked


def test_what_the_corpus_does_not_allow_is_left_out(joint_config, clips_folder):
    figures = measure.measure(random_model(joint_config), open_clips(clips_folder, "test"))
    drivers = ("audio", "video", "shuffled", "photo")
    images = {f"picture/{name}_{driver}" for name in ("psnr", "ssim", "mouth_l1") for driver in drivers}
    reading = {"read/audio", "read/video", "read/both", "match/r1", "match/shifts_found"}
    modality = {"probe/modality_from_wid", "probe/modality_from_wid_mlp"}
    # Seven clips of the people of the training split: no probe of words or people, no mouth-opening estimator.
    assert set(figures) - {"swap/person", "swap/word_audio", "swap/word_video"} == reading | modality | images
    assert all(np.isfinite(value) for value in figures.values())


def test_a_damaged_training_shard_fails_the_measuring(joint_config, damaged_folder):
    with pytest.raises(DataError, match=r"damaged: record \d+ of split 'train' cannot be read"):
        measure.measure(random_model(joint_config), open_clips(damaged_folder, "test"))
