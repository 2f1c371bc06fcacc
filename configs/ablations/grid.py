"""Ablations of lip reading on GRID, without those about persons: one speaker dominates our recordings.

python -m davs_jax.claims --config configs/claims/grid.py --output runs/claims/grid
"""

from configs import grid
from configs.ablations import synthetic

READ = 800
ARMS = synthetic.READING | synthetic.CONTROLS


def get_config(arm: str = "joint-both", root: str = ""):
    """One arm's configuration; `root` is unused: no arm starts from another.

    Raises:
      ValueError: an unknown arm.
    """
    if arm not in ARMS:
        raise ValueError(f"unknown arm {arm!r}; the arms are {', '.join(ARMS)}")
    return synthetic.reading(grid.get_config("word"), ARMS[arm], READ)
