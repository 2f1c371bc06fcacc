"""Stage 4 of the full recipe: all networks together on LRW and MS-Celeb-1M, at 256 px, with the published values.

python -m davs_jax.main --config configs/lrw.py --workdir runs/lrw
"""

from configs import common


def get_config():
    c = common.get_config("joint")
    c.data.clips = "data/lrw"
    c.data.faces = "data/ms_celeb"
    c.init_from = "runs/lrw_generator,runs/lrw_word"
    c.init_networks = ("person_encoder", "visual_encoder", "audio_encoder", "decoder", "word_classifier")
    return c
