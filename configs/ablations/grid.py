"""Ablations of lip reading on GRID. There are no questions about persons: one speaker has most of our clips.

python -m davs_jax.ablations --config configs/ablations/grid.py --output runs/ablations/grid
"""

from configs import grid
from configs.ablations import synthetic

READ = 800
ARMS = synthetic.READING | synthetic.NORMALISED | synthetic.CONTROLS


def get_config(arm: str = "joint-both", root: str = ""):
    """One arm's config; `root` is not used, since no arm starts from another.

    Raises:
      ValueError: an unknown arm.
    """
    if arm not in ARMS:
        raise ValueError(f"unknown arm {arm!r}; the arms are {', '.join(ARMS)}")
    return synthetic.reading(grid.get_config("word"), ARMS[arm], READ)
