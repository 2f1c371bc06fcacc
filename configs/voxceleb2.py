"""VoxCeleb2 at 256 px: thousands of people, and no word labels. The encoders learn from what audio and video share.

    python -m data_prep.voxceleb --input VOXCELEB2 --output data/voxceleb2
    python -m davs_jax.main --config configs/voxceleb2.py:word --workdir runs/voxceleb2/word
    python -m davs_jax.main --config configs/voxceleb2.py:generator --workdir runs/voxceleb2/generator
    python -m davs_jax.main --config configs/voxceleb2.py --workdir runs/voxceleb2/joint

The terms that read words or identity images are off. To learn words too, name these clips beside labelled ones:

    python -m davs_jax.main --config configs/lrw_word.py --workdir runs/mixed --config.data.unlabelled=data/voxceleb2
"""

from configs import common
from configs.lrw_recommended import improve, without_identities

STEPS = {"word": 150_000, "generator": 150_000, "joint": 300_000}


def get_config(stage: str = "joint"):
    """The config of the stage `word`, `generator` or `joint`.

    Raises:
      ValueError: an unknown stage.
    """
    if stage not in STEPS:
        raise ValueError(f"unknown stage {stage!r}; VoxCeleb2 has the stages {', '.join(STEPS)}")
    c = without_identities(improve(common.get_config(stage)))
    c.steps = STEPS[stage]
    c.data.clips = "data/voxceleb2"
    if stage == "word":
        c.data.batch_size = 64
    c.loss.update(word_ce=0.0, pid_uniform=0.0)
    common.chain(c, stage, "runs/voxceleb2", without=("person",))
    c.trained = tuple(name for name in c.trained if name != "word_classifier")
    c.init_networks = tuple(name for name in c.init_networks if name != "word_classifier")
    c.log.eval_every = 5_000 if stage != "generator" else 0
    c.checkpoint.best = "audio_to_video_r1" if stage != "generator" else ""
    return c
