r"""Glance on the quickstart's synthetic corpus, with lips of 32 px: minutes on two CPU cores.

python -m davs_jax.main --config configs/baselines/glance_quickstart.py:autoencoder --workdir \
    runs/quickstart/g/autoencoder
python -m davs_jax.main --config configs/baselines/glance_quickstart.py --workdir runs/quickstart/g/lips
"""

from configs import baselines
from configs.baselines import glance

STEPS = {"autoencoder": 400, "lips": 2_000}


def get_config(stage: str = "lips"):
    c = baselines.small(glance.get_config(stage), "data/quickstart/clips")
    c.model.blocks = 4
    c.steps = STEPS[stage]
    if stage == "lips":  # more, smaller steps in the same time; after 400 of 8 clips the lips were noise
        c.data.batch_size = 4
        # The published weights let the adversary and the perceptual loss draw a coloured grid over the lips before they
        # learn anything else. With 500 times the L1, and a slower adversary, the lips come first, and the grid is weak.
        c.loss.l1 = 100.0
        c.optim.discriminator_learning_rate = 2e-4
    return glance.chained(c, stage, "runs/quickstart/g")
