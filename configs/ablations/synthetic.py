"""Ablations on the quickstart's corpus: arms that differ in one component, with the same data and steps.

    python -m davs_jax.ablations --config configs/ablations/synthetic.py --output runs/ablations/synthetic    # all arms
    python -m davs_jax.main --config configs/ablations/synthetic.py:video --workdir runs/video                # one arm

Reading arms train word encoders for READ steps. Generating arms train a person encoder and a decoder for TALK steps
over the frozen word encoders of a reading arm; `talk-direct` starts without such encoders and gets READ + TALK steps.
All generating arms have the same image losses, those of configs/synthetic.py without the temporal and the
adversarial ones (which leaves a third of a joint step's time), on one frame per clip.
"""

from typing import NamedTuple

from configs import quickstart

READ, TALK = 400, 600
IMAGE_LOSSES = {"l1": 1.0, "mouth_l2": 0.25}


class Arm(NamedTuple):
    """One row of the table: what it is, its loss, and what it starts from.

    Attributes:
      about: a description for the tables.
      loss: weights of the terms; all others are 0.
      modalities: as `config.modalities`.
      after: the arm whose word encoders it uses, frozen; "" is none.
      times: a factor for the number of steps; 1 except for controls.
      wid_norm, wid_dim, flow: as in `config.model`.
      labels: the share of the clips whose word is known.
      unlabelled: how clips without a word train: "" not at all, "masked" with all but the word loss, "tcp" also as
        classes of their own.
    """

    about: str
    loss: dict[str, float]
    modalities: tuple[str, ...] = ("audio", "video")
    after: str = ""
    times: int = 1
    wid_norm: str = "none"
    wid_dim: int = 256
    flow: bool = False
    labels: float = 1.0
    unlabelled: str = ""


WORDS, BOTH = {"word_ce": 1.0}, {"word_ce": 1.0, "contrastive": 1.0, "modality": 0.2}
READING = {
    "video": Arm("video alone", WORDS, ("video",)),
    "audio": Arm("audio alone", WORDS, ("audio",)),
    "joint": Arm("both through one word classifier", WORDS),
    "joint-contrastive": Arm("… and the contrastive loss", WORDS | {"contrastive": 1.0}),
    "joint-modality": Arm("… and the modality adversary", WORDS | {"modality": 0.2}),
    "joint-both": Arm("… and both", BOTH),
}
# The same with word vectors normalised over time, without which video alone does not leave chance.
NORMALISED = {
    f"{name}-normalised": READING[name]._replace(about=about, wid_norm="mean_variance")
    for name, about in {
        "video": "video alone, word vectors normalised",
        "audio": "audio alone, word vectors normalised",
        "joint": "both through one word classifier, word vectors normalised",
        "joint-contrastive": "… and the contrastive loss",
        "joint-both": "… and both",
    }.items()
}
PERSONS = {
    "joint-both-wid": Arm("… and both, and the person adversary on wid", BOTH | {"wid_uniform": 1.0}),
    "joint-both-normalised-wid": Arm(
        "… and both, and the person adversary on wid, word vectors normalised",
        BOTH | {"wid_uniform": 1.0},
        wid_norm="mean_variance",
    ),
    "talk": Arm("a face over joint-both, no word adversary", IMAGE_LOSSES | {"person_ce": 1.0}, after="joint-both"),
    "talk-pid": Arm(
        "a face over joint-both, with the word adversary on pid",
        IMAGE_LOSSES | {"person_ce": 1.0, "pid_uniform": 1.0},
        after="joint-both",
    ),
    "talk-pid-wid": Arm(
        "a face over joint-both-wid, with the word adversary on pid",
        IMAGE_LOSSES | {"person_ce": 1.0, "pid_uniform": 1.0},
        after="joint-both-wid",
    ),
    "talk-pid-normalised": Arm(
        "a face over joint-both-normalised, with the word adversary on pid",
        IMAGE_LOSSES | {"person_ce": 1.0, "pid_uniform": 1.0},
        after="joint-both-normalised",
        wid_norm="mean_variance",
    ),
    "talk-direct": Arm("image to image: identity encoder, audio encoder, decoder", IMAGE_LOSSES, ("audio",)),
}
# The recommended recipe's word encoders, and the flow head.
FLOW = {
    name: Arm(
        about,
        IMAGE_LOSSES | {"person_ce": 1.0},
        after="joint-contrastive-64",
        wid_norm="mean_variance",
        wid_dim=64,
        flow=flow,
    )
    for name, about, flow in (
        ("talk-64", "a face over joint-contrastive-64, no word adversary", False),
        ("talk-flow", "… and a field that moves the photo's pixels", True),
    )
}
# "Joint training helps" says little if video alone would learn the same with more steps.
CONTROLS = {
    "video-long": Arm("video alone, four times the steps (a control)", WORDS, ("video",), times=4),
    "video-mean": Arm("video alone, word vectors without their mean", WORDS, ("video",), wid_norm="mean"),
    "video-normalised-long": NORMALISED["video-normalised"]._replace(about="… twice the steps (a control)", times=2),
}
# A narrower wid, which has less room for the person.
NARROW = {
    f"joint-contrastive-{length}": NORMALISED["joint-contrastive-normalised"]._replace(
        about=f"joint-contrastive-normalised, word vectors of {length} numbers", wid_dim=length
    )
    for length in (64, 32)
}
# One clip in ten has its word.
LABELS = {
    name: NORMALISED["joint-contrastive-normalised"]._replace(about=about, labels=0.1, unlabelled=unlabelled)
    for name, about, unlabelled in (
        ("tenth", "joint-contrastive-normalised on a tenth of the clips", ""),
        ("tenth-masked", "… and on all clips, without their words", "masked"),
        ("tenth-tcp", "… and clips without a word are classes of their own", "tcp"),
    )
}
ARMS = READING | NORMALISED | NARROW | PERSONS | FLOW | CONTROLS | LABELS


def get_config(arm: str = "joint-both", root: str = "runs/ablations/synthetic/0"):
    """One arm's config.

    Args:
      root: folder of the workdirs of the arms of one seed.

    Raises:
      ValueError: an unknown arm.
    """
    if arm not in ARMS:
        raise ValueError(f"unknown arm {arm!r}; the arms are {', '.join(ARMS)}")
    if ARMS[arm].loss.keys() & IMAGE_LOSSES.keys():
        return talking(quickstart.get_config("generator"), ARMS[arm], root)
    return reading(quickstart.get_config("word"), ARMS[arm], READ)


def reading(c, arm: Arm, steps: int):
    """Turns the word stage into a reading arm."""
    c.steps = steps * arm.times
    c.modalities = arm.modalities
    encoders = {"audio": "audio_encoder", "video": "visual_encoder"}
    c.trained = (*(encoders[modality] for modality in arm.modalities), "word_classifier")
    return _plain(c, arm)


def talking(c, arm: Arm, root: str):
    """Turns the generator stage into a generating arm."""
    c.steps = TALK if arm.after else READ + TALK
    c.modalities = arm.modalities
    c.trained = ("person_encoder", "decoder", *(("person_classifier",) if arm.after else ("audio_encoder",)))
    c.init_from = f"{root}/{arm.after}" if arm.after else ""
    c.init_networks = ("audio_encoder", "visual_encoder") if arm.after else ()
    return _plain(c, arm)


def _plain(c, arm: Arm):
    """The arm's terms and normalisation, on the published MFCC; no validation, no images, one checkpoint."""
    c.loss.update(dict.fromkeys(c.loss, 0.0) | arm.loss)
    c.audio_gain = c.video_gain = 1.0  # what an arm has learned, not exaggerated
    c.model.update(wid_norm=arm.wid_norm, wid_dim=arm.wid_dim, flow=arm.flow, spectrum="mfcc")
    c.data.share = arm.labels
    if arm.unlabelled:
        c.data.unlabelled, c.tcp = c.data.clips, arm.unlabelled == "tcp"
    c.log.update(every=50, images_every=0, eval_every=0)
    c.checkpoint.update(every=100, keep=1, best="")
    return c
