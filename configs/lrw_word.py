"""Stage 2 of the full recipe: both word encoders learn the 500 words of LRW, at 256 px, without generation.

python -m davs_jax.main --config configs/lrw_word.py --workdir runs/lrw_word
"""

from configs import common


def get_config():
    c = common.get_config("word")
    c.data.clips = "data/lrw"
    c.data.batch_size = 64
    c.steps = 150_000  # about 20 epochs
    return c
