"""Former name of configs/ablations/synthetic.py."""

from configs.ablations.synthetic import ARMS, get_config

__all__ = ["ARMS", "get_config"]
