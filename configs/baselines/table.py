"""One table of systems: DAVS as published, as recommended, without disentanglement, and the baselines.

    python -m davs_jax.ablations --config configs/baselines/table.py --output runs/table
    python -m davs_jax.ablations --config configs/baselines/table.py --output runs/table --seeds 0 --only speech2vid

Clips, photos, audio and figures are the same for all systems of a corpus: the quickstart's synthetic one; news speakers
that none has seen (data/news at 64 px, where it is prepared); for the one-subject mode one speaker of GRID
(data/grid_s1 at 64 px, see configs/baselines/one_subject.py). A system takes 8 to 45 minutes of one CPU core, with what
it starts from; systems.html shows videos side by side. DAVS is trained as far as the stage `generator`.
"""

from pathlib import Path
from typing import NamedTuple

from configs import common, quickstart, syncnet
from configs.ablations import synthetic
from configs.baselines import glance_quickstart, one_subject, speech2vid_quickstart
from davs_jax.ablations.systems import write as WRITER  # noqa: F401  (read by davs_jax.ablations)

# Unseen people of real recordings, at 64 px (configs/news.py); left out where they are not prepared.
TESTED = tuple(folder for folder in ("data/news",) if Path(folder).exists())
NEWS_SYNCNET = ("syncnet-news",) if TESTED else ()
JUDGES = {"syncnet": ("syncnet", *NEWS_SYNCNET), "judge": ("davs",)}


class Arm(NamedTuple):
    """One run: what it is, the runs that it starts from, and whether it is measured on TESTED."""

    about: str
    after: tuple[str, ...] = ()
    elsewhere: bool = True


ARMS = {
    "syncnet": Arm("judges lip sync"),
    **{name: Arm("judges lip sync of the news speakers") for name in NEWS_SYNCNET},
    "word": Arm("the word encoders of davs"),
    "person": Arm("the person encoder of davs and davs-published"),
    "davs": Arm("DAVS, the recommended recipe", ("word", "person")),
    "word-published": Arm("the word encoders of davs-published"),
    "davs-published": Arm("DAVS, the published losses and networks", ("word-published", "person")),
    "image2image": Arm("DAVS without disentanglement: identity encoder, audio encoder, decoder"),
    "speech2vid-face": Arm("Speech2Vid without sharpening"),
    "speech2vid": Arm("Speech2Vid (Chung et al. 2017)", ("speech2vid-face",)),
    "glance-autoencoder": Arm("the autoencoder of glance"),
    "glance": Arm("Lip Movements Generation at a Glance (Chen et al. 2018)", ("glance-autoencoder",)),
    "one-subject": Arm("one-subject mode, after Synthesizing Obama (Suwajanakorn et al. 2017)", elsewhere=False),
}


def get_config(arm: str = "davs", root: str = "runs/table/0"):
    """One arm's config.

    Args:
      root: folder of the workdirs of the arms of one seed.

    Raises:
      ValueError: an unknown arm.
    """
    if arm not in ARMS:
        raise ValueError(f"unknown arm {arm!r}; the arms are {', '.join(ARMS)}")
    c = _config(arm)
    c.init_from = ",".join(f"{root}/{name}" for name in ARMS[arm].after)
    c.log.update(every=50, images_every=0, eval_every=0)
    c.checkpoint.update(every=100, keep=1, best="")
    return c


def _config(arm: str):
    match arm:
        case "syncnet":
            c = syncnet.get_config("quickstart")
        case "syncnet-news":
            c = syncnet.get_config("quickstart")
            c.data.clips, c.steps = "data/news", 1_000
        case "word" | "person":
            c = quickstart.get_config(arm)
        case "davs":
            c = quickstart.get_config("generator")
        case "word-published":
            c = _published(quickstart.get_config("word"))
        case "davs-published":
            c = _published(quickstart.get_config("generator"))
        case "image2image":
            c = synthetic.get_config("talk-direct")
        case "speech2vid-face" | "speech2vid":
            c = speech2vid_quickstart.get_config("face" if arm.endswith("face") else "deblur")
        case "glance-autoencoder" | "glance":
            c = glance_quickstart.get_config("autoencoder" if arm.endswith("autoencoder") else "lips")
        case "one-subject":
            c = one_subject.get_config()
            c.model.update(image_size=64)
            c.data.clips = "data/grid_s1"
            c.steps = 600
    return c


def _published(c):
    """The published losses and networks in the place of the recommended ones, at the same size and speed."""
    published = common.get_config("word" if c.loss.word_ce else "generator")
    for key in ("wid_norm", "spectrum", "blend", "flow", "skips", "word_skips", "wid_dim"):
        c.model[key] = published.model[key]
    c.loss.update(published.loss)
    c.contrastive, c.trained = published.contrastive, published.trained
    c.audio_gain = c.video_gain = 1.0
    return c
