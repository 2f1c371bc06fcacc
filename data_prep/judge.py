"""The trained model that measures audio-video offsets; `synchrony` imports it only where one is to be measured."""

import functools
from pathlib import Path

import jax
import numpy as np

from data_prep.plan import PreparationError
from data_prep.speaker import Tracked
from davs_jax import inference
from davs_jax.checkpoint import export
from davs_jax.generate.drivers import DrivingVideo
from davs_jax.inference import Davs
from davs_jax.media.offsets import Offset
from davs_jax.sync import audio_offset
from davs_jax.sync.audio_offset import REACH, SyncError

__all__ = ["DEMO", "REACH", "load", "measure"]
DEMO = "the demo model"  # the judge in a plan where none is given


@functools.cache
def load(run: str) -> Davs:
    """The model, loaded once per process.

    Args:
      run: a workdir, one checkpoint in it, or an exported folder; DEMO is the demo model.

    Raises:
      CheckpointError: there are no weights, or they are damaged.
      PreparationError: they lack a word encoder.
    """
    # Every worker process holds the model, and processes cannot share an accelerator's memory.
    jax.config.update("jax_platforms", "cpu")
    model = inference.load(export.DEMO if run == DEMO else run, "one")
    if not model.has("visual_encoder", "audio_encoder"):
        raise PreparationError(f"--judge {run}: has no word encoders", "give a run of the word or the joint stage")
    return model


def measure(run: str, path: Path, samples: np.ndarray, tracked: Tracked) -> Offset | None:
    """The offset of a recording; None where it is too short. Arguments as of `synchrony.measure`."""
    video = DrivingVideo(path, tracked.points, True, tracked.lost)
    try:
        return audio_offset.measure_video(load(run), video, samples)
    except SyncError:
        return None
