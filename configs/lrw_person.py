"""Stage 1 of the full recipe: the person encoder learns the 40,145 identities of MS-Celeb-1M, at 256 px.

python -m davs_jax.main --config configs/lrw_person.py --workdir runs/lrw_person
"""

from configs import common


def get_config():
    c = common.get_config("person")
    c.data.faces = "data/ms_celeb"
    c.data.face_batch_size = 256  # no clips in this stage
    c.steps = 200_000  # about 10 epochs of 5 M images
    return c
