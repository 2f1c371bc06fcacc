import numpy as np
import pytest

from configs import common
from davs_jax.checkpoint.export import save_weights
from davs_jax.data.sources import open_clips
from davs_jax.errors import CheckpointError
from davs_jax.evaluate.lip_sync import Scorer
from davs_jax.training.loop import train
from support.tiny_data import tiny
from support.tiny_model import random_weights


def test_syncnet_is_a_stage_whose_weights_score_clips(clips_folder, tmp_path):
    config = tiny(common.get_config("syncnet"), clips_folder, "")
    config.steps, config.data.batch_size = 2, 1
    assert train(config, str(tmp_path / "run"))
    record = open_clips(clips_folder, "test").record(0)
    frames = np.random.default_rng(0).integers(0, 256, (29, 64, 64, 3), np.uint8)
    scores = Scorer.load(tmp_path / "run")(frames, record["audio"])
    assert scores["whole-frame"].windows == 24
    assert scores["valid-only"].distance > 0


def test_weights_without_a_syncnet_are_refused(word_config, tmp_path):
    params, batch_stats = random_weights(word_config)
    save_weights(str(tmp_path), word_config, {"decoder": params["decoder"]}, {"decoder": batch_stats["decoder"]})
    with pytest.raises(CheckpointError, match="holds decoder, no syncnet; train one with"):
        Scorer.load(tmp_path)
