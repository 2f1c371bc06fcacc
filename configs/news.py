"""Television presenters at 64 px: 26 people, 67 words, a third of the clips without a word (docs/preparation.md).

    python -m data_prep.folder --input news --output data/news --image-size 64 --min-count 15 \
        --val-fraction 0.08 --test-fraction 0.15
    python -m davs_jax.main --config configs/news.py:word --workdir runs/news/word
    python -m davs_jax.main --config configs/news.py:generator --workdir runs/news/generator
    python -m davs_jax.main --config configs/news.py --workdir runs/news/joint

Whole speakers are held out: 20 train, 2 validate, 4 test. Generation moves the pixels of the full-size photo, so a
video is sharper than 64 px.
"""

from configs import common, grid

STEPS = {"word": 1_200, "generator": 3_000, "joint": 100}


def get_config(stage: str = "joint"):
    """The config of the stage `word`, `generator` or `joint`.

    Raises:
      ValueError: an unknown stage.
    """
    if stage not in STEPS:
        raise ValueError(f"unknown stage {stage!r}; the stages are {', '.join(STEPS)}")
    c = grid.get_config(stage)
    c.steps = STEPS[stage]
    c.model.num_words = 67
    c.data.clips = "data/news"
    c.data.batch_size = 16 if stage == "word" else 8
    common.chain(c, stage, "runs/news", without=("person",))
    return c
