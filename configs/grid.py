"""GRID at 64 px: 51 words in real recordings, mostly of one speaker.

    python -m davs_jax.main --config configs/grid.py:word --workdir runs/grid/word
    python -m davs_jax.main --config configs/grid.py:generator --workdir runs/grid/generator
    python -m davs_jax.main --config configs/grid.py --workdir runs/grid/joint

GRID comes without labelled face images, so the two terms that need them are off.
"""

from configs import common, synthetic

STEPS = {"word": 1_600, "generator": 1_000, "joint": 60}


def get_config(stage: str = "joint"):
    if stage not in STEPS:
        raise ValueError(f"unknown stage {stage!r}; GRID has the stages {', '.join(STEPS)}")
    c = synthetic.get_config(stage)
    c.steps = STEPS[stage]
    c.model.num_words = 51
    c.model.wid_dim = 256
    c.data.batch_size = 8
    c.data.clips = "data/grid"
    c.data.faces = ""
    c.data.face_batch_size = 0
    common.chain(c, stage, "runs/grid", without=("person",))
    c.trained = tuple(name for name in c.trained if name != "person_classifier")
    c.loss.person_ce = 0.0
    return c
