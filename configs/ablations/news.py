"""Ablations of lip reading on television presenters: what word vectors know of real people whom no arm has seen.

    python -m davs_jax.ablations --config configs/ablations/news.py --output runs/ablations/news

The corpus is that of configs/news.py. Whole speakers are held out, so the probes for persons tell apart four strangers.
"""

from configs import news
from configs.ablations import synthetic

READ = 800
ALL = synthetic.READING | synthetic.NORMALISED | synthetic.NARROW
ARMS = {
    name: ALL[name]
    for form in ("", "-normalised")
    for name in (f"video{form}", f"audio{form}", f"joint-contrastive{form}")
} | {"joint-contrastive-64": ALL["joint-contrastive-64"]}


def get_config(arm: str = "joint-contrastive-normalised", root: str = ""):
    """One arm's config, eight clips a step; `root` is not used, since no arm starts from another.

    Raises:
      ValueError: an unknown arm.
    """
    if arm not in ARMS:
        raise ValueError(f"unknown arm {arm!r}; the arms are {', '.join(ARMS)}")
    c = synthetic.reading(news.get_config("word"), ARMS[arm], READ)
    c.data.batch_size = 8
    return c
