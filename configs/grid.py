"""GRID at 64 px: 51 words in real recordings, mostly of one speaker.

    python -m davs_jax.main --config configs/grid.py:word --workdir runs/grid/word
    python -m davs_jax.main --config configs/grid.py:generator --workdir runs/grid/generator
    python -m davs_jax.main --config configs/grid.py --workdir runs/grid/joint

GRID comes without labelled identity images, so the identity loss, which needs them, is off.
"""

from configs import common, synthetic
from configs.lrw_recommended import without_identities

STEPS = {"word": 1_600, "generator": 1_000, "joint": 60}


def get_config(stage: str = "joint"):
    if stage not in STEPS:
        raise ValueError(f"unknown stage {stage!r}; GRID has the stages {', '.join(STEPS)}")
    c = without_identities(synthetic.get_config(stage))
    c.steps = STEPS[stage]
    c.model.num_words = 51
    c.model.wid_dim = 256
    c.data.batch_size = 8
    c.data.clips = "data/grid"
    common.chain(c, stage, "runs/grid", without=("person",))
    return c
