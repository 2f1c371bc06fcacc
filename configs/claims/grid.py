"""Former name of configs/ablations/grid.py."""

from configs.ablations.grid import ARMS, get_config

__all__ = ["ARMS", "get_config"]
