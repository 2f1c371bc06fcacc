"""A model for the package's demo: synthetic people, photos that speak and GRID's speakers, at 128 px.

    make quickstart  # this and the next line make the clips of the stage word
    python -m data_prep.grid --input grid --output data/grid --image-size 64
    python -m data_prep.synthetic --output data/demo/raw --people 64 --clips-per-word 2
    python -m data_prep.lrw --input data/demo/raw/lipread_mp4 --output data/demo/synthetic --image-size 128
    python -m data_prep.faces --input data/demo/raw/faces --output data/demo/faces --image-size 128
    python -m data_prep.synthetic --output data/demo/speaking --photos neutral --people 52 --val-people 2 \
        --test-people 6 --further-people 0 --clips-per-word 3 --images 4 --context 0.6
    python -m data_prep.lrw --input data/demo/speaking/lipread_mp4 --output data/demo/photos --image-size 128
    python -m data_prep.lrw --input data/demo/speaking/lipread_mp4 --output data/demo/photos_64 --image-size 64
    python -m data_prep.grid --input grid --output data/demo/grid --image-size 128
    python -m davs_jax.main --config configs/demo.py:word --workdir runs/demo/word
    python -m davs_jax.main --config configs/demo.py:person --workdir runs/demo/person
    python -m davs_jax.main --config configs/demo.py:generator --workdir runs/demo/generator
    python -m davs_jax.checkpoint export runs/demo/generator davs_jax/demo --words runs/demo/word

`neutral` holds the neutral portraits of the London Set (DeBruine and Jones, 2017). It and GRID allow sharing what is
derived from them. Lips are read at 64 px in all stages; the vocabulary has the ten words of the synthetic corpus and
GRID's 51. The generator sees four frames of each of four clips.

The demo model ends with the stage `generator`. In an earlier version, 150 steps of the stage `joint` after it closed
the mouths (amplitude 0.67 instead of 0.83 from audio; one seed, davs_jax/demo/README.md).
"""

from configs import common, synthetic

STEPS = {"person": 300, "word": 4_000, "generator": 3_000, "joint": 150}


def get_config(stage: str = "generator"):
    """The config of the stage `person`, `word`, `generator` or `joint`.

    Raises:
      ValueError: an unknown stage.
    """
    if stage not in STEPS:
        raise ValueError(f"unknown stage {stage!r}; the stages are {', '.join(STEPS)}")
    c = synthetic.get_config(stage)
    c.steps = STEPS[stage]
    c.model.num_words = 61
    c.model.num_identities = 80
    c.model.wid_dim = 256  # for the larger vocabulary
    if stage == "word":
        c.data.clips = "data/quickstart/clips,data/grid,data/demo/photos_64"
    else:
        c.model.image_size, c.model.visual_size = 128, 64
        c.data.clips, c.data.faces = "data/demo/photos,data/demo/synthetic,data/demo/grid", "data/demo/faces"
    c.data.batch_size = 8
    c.data.audio_jitter = 0.7  # whether it helps is undecided (docs/decisions.md)
    if stage == "generator":  # words are not used: GRID, whose images are soft, is a quarter of each batch
        c.model.num_words, c.model.sequence_frames, c.data.batch_size = 10, 4, 4
        c.data.clips, c.data.unlabelled = "data/demo/photos,data/demo/synthetic", "data/demo/grid"
        c.data.unlabelled_share = 0.25
    c.data.face_batch_size = 32 if stage == "person" else 8
    if c.loss.l1:
        c.loss.warp = 0.25
        c.data.color_jitter = 0.3  # photos come in more colours than six speakers' cameras have
    common.chain(c, stage, "runs/demo")
    c.log.eval_every = 400 if stage == "word" else 60 if stage == "joint" else 0
    return c
