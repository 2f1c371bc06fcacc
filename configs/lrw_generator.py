"""Stage 3 of the full recipe: the decoder trains with frozen word encoders, at 256 px.

python -m davs_jax.main --config configs/lrw_generator.py --workdir runs/lrw_generator
"""

from configs import common


def get_config():
    c = common.get_config("generator")
    c.data.clips = "data/lrw"
    c.data.batch_size = 64
    c.steps = 50_000
    c.init_from = "runs/lrw_word,runs/lrw_person"
    c.init_networks = ("person_encoder", "visual_encoder", "audio_encoder")
    return c
