"""The recommended recipe for LRW and MS-Celeb-1M at 256 px: the published one with those of our options that helped.

    python -m davs_jax.main --config configs/lrw_recommended.py:person --workdir runs/recommended/person
    python -m davs_jax.main --config configs/lrw_recommended.py:word --workdir runs/recommended/word
    python -m davs_jax.main --config configs/lrw_recommended.py:generator --workdir runs/recommended/generator
    python -m davs_jax.main --config configs/lrw_recommended.py --workdir runs/recommended/joint

Differences from configs/lrw*.py, which stay as published: word vectors normalised over time, speech as log mel
magnitudes, the contrastive loss over frames, neither the modality adversary nor the person adversary on wid, a decoder
that moves the photo's own pixels and covers them where it must, the identity loss wherever frames are generated, and
bfloat16 convolutions. All were compared on small corpora (docs/ablations.md, docs/results.md; the person adversary and
the identity loss with single runs, the others with three seeds); no recipe has been trained on LRW itself yet.
configs/synthetic.py, quickstart.py, grid.py and news.py are this recipe in small.
"""

from configs import common, lrw, lrw_generator, lrw_person, lrw_word

PUBLISHED = {"person": lrw_person, "word": lrw_word, "generator": lrw_generator, "joint": lrw}


def get_config(stage: str = "joint"):
    """The config of the stage `person`, `word`, `generator` or `joint`.

    Raises:
      ValueError: an unknown stage.
    """
    if stage not in PUBLISHED:
        raise ValueError(f"unknown stage {stage!r}; LRW has the stages {', '.join(PUBLISHED)}")
    c = improve(PUBLISHED[stage].get_config())
    c.model.dtype = "bfloat16"
    common.chain(c, stage, "runs/recommended")
    return c


def improve(c):
    """Turns a published stage's config into the recommended one, whatever its corpus and size."""
    c.model.wid_norm = "mean_variance"
    c.model.spectrum = "log_mel"
    c.model.blend = c.model.flow = True
    c.contrastive = "frames"
    c.loss.modality = 0.0  # the contrastive loss aligns the modalities; beside it, this adversary costs words
    c.loss.wid_uniform = 0.0  # normalisation removes the person; this adversary reads single images, which cannot be
    if c.loss.l1:  # or pid would say how far the mouth of its photo is open, and so the word
        c.loss.person_ce = 1.0
        c.trained = (*c.trained, "person_classifier")
    return c


def without_identities(c):
    """For corpora without labelled identity images."""
    c.data.faces, c.data.face_batch_size = "", 0
    c.loss.person_ce = 0.0
    c.trained = tuple(name for name in c.trained if name != "person_classifier")
    return c
