"""Television presenters, GRID's speakers, photos that speak, and photographed people at 128 px: words of two languages.

    python -m data_prep.folder --input news --output data/news --image-size 64 --min-count 15 \
        --val-fraction 0.08 --test-fraction 0.15
    python -m data_prep.folder --input news --output data/real/news --image-size 128 --min-count 15 \
        --val-fraction 0.08 --test-fraction 0.15
    python -m data_prep.grid --input grid --output data/grid --image-size 64
    python -m data_prep.grid --input grid --output data/real/grid --image-size 128
    python -m data_prep.faces --input lfw300 --output data/real/faces --image-size 128
    python -m data_prep.synthetic --output data/demo/speaking --photos neutral --people 52 --val-people 2 \
        --test-people 6 --further-people 0 --clips-per-word 3 --images 4 --context 0.6
    python -m data_prep.lrw --input data/demo/speaking/lipread_mp4 --output data/demo/photos --image-size 128
    python -m davs_jax.main --config configs/real.py:word --workdir runs/real/word
    python -m davs_jax.main --config configs/real.py:person --workdir runs/real/person
    python -m davs_jax.main --config configs/real.py:generator --workdir runs/real/generator
    python -m davs_jax.main --config configs/real.py --workdir runs/real/joint

It is the demo's recipe with recordings instead of synthetic people, and with photos from nearby. The photos that speak
(`neutral` as in configs/demo.py) teach the generator to open a mouth that is closed in the photo. Clips without a word
train everything but the word loss. Whole speakers of the news are held out: 20 train, 2 validate, 4 test. All stages
were trained; the last changes little (docs/presenters.md).
"""

from configs import common, demo

STEPS = {"person": 300, "word": 4_000, "generator": 3_000, "joint": 60}


def get_config(stage: str = "joint"):
    """The config of the stage `person`, `word`, `generator` or `joint`.

    Raises:
      ValueError: an unknown stage.
    """
    c = demo.get_config(stage)
    c.steps = STEPS[stage]
    c.model.num_words = 118
    c.model.num_identities = 300
    if stage == "word":
        c.data.clips = "data/news,data/grid"
    elif stage == "generator":
        c.model.num_words, c.data.clips, c.data.unlabelled = 77, "data/real/news,data/demo/photos", "data/real/grid"
    else:
        c.data.clips = "data/real/news,data/real/grid"
    if stage != "word":
        c.data.faces = "data/real/faces"
    if stage in ("generator", "joint"):
        c.data.photo_within = 3
    if stage == "joint":
        c.loss.temporal = 0.0  # as it was trained
    common.chain(c, stage, "runs/real")
    return c
