"""The synthetic corpus at larger scale: a model that learns the task, in an hour or two on two CPU cores.

    python -m data_prep.synthetic --output data/synthetic/raw --people 96 --val-people 8 --test-people 12 \
        --further-people 64 --clips-per-word 5
    python -m data_prep.lrw --input data/synthetic/raw/lipread_mp4 --output data/synthetic/clips --image-size 64
    python -m data_prep.faces --input data/synthetic/raw/faces --output data/synthetic/faces --image-size 64
    python -m davs_jax.main --config configs/synthetic.py:word --workdir runs/synthetic/word
    python -m davs_jax.main --config configs/synthetic.py:person --workdir runs/synthetic/person
    python -m davs_jax.main --config configs/synthetic.py:generator --workdir runs/synthetic/generator
    python -m davs_jax.main --config configs/synthetic.py --workdir runs/synthetic/joint

It is the recommended recipe (configs/lrw_recommended.py) with our options for small images and few clips: a narrower
wid, finer skip maps, the word at finer strides, a squared loss at the mouth, and no dropout. The reasons are in
docs/decisions.md.
"""

from configs import common
from configs.lrw_recommended import improve

STEPS = {"person": 400, "word": 600, "generator": 3_000, "joint": 400}


def get_config(stage: str = "joint"):
    if stage not in STEPS:
        raise ValueError(f"unknown stage {stage!r}; the synthetic corpus has the stages {', '.join(STEPS)}")
    c = improve(common.get_config(stage))
    c.steps = STEPS[stage]

    m = c.model
    m.image_size = 64
    m.width = 0.25
    m.num_words = 10
    m.num_identities = 160
    m.wid_dim = 64  # less room for the person, for a few points of words
    m.adversary_frames = 12  # reuses the word frames
    m.skips = (8, 4, 2)
    m.word_skips = (8, 4)
    m.dropout = 0.0
    m.align_corners = False

    c.audio_gain, c.video_gain = 2.0, 1.5

    c.data.clips = "data/synthetic/clips"
    c.data.faces = "data/synthetic/faces"
    c.data.color_jitter = 0.1
    c.data.batch_size = 16 if stage == "word" else 8
    c.data.face_batch_size = 32 if stage == "person" else 16

    c.optim.learning_rate = 1e-3
    c.optim.discriminator_learning_rate = 1e-3
    c.optim.schedule = "cosine"
    c.optim.warmup_steps = 100

    if c.loss.l1:
        c.loss.update(l1=1.0, mouth=0.0, mouth_l2=0.25)
    common.chain(c, stage, "runs/synthetic")
    if stage == "joint":
        c.optim.learning_rate = 3e-4
        c.wid_gradient = 0.0

    c.log.images_every = 500 if c.loss.l1 else 0
    c.log.eval_every = 200 if c.loss.word_ce else 0
    c.checkpoint.every = 200
    return c
