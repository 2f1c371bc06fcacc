"""The questions of a study: each compares two arms in one metric; the differences over seeds answer it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
Figures = Mapping[str, Mapping[int, Mapping[str, float]]]  # by arm, seed and name


class Comparison(NamedTuple):
    """The claim that `figure` of `arm` is above (`claim` +1), below (−1) or near (0) that of the baseline `against`."""

    figure: str
    arm: str
    against: str
    claim: int


QUESTIONS = {
    "Does joint training improve lip reading over the single-modality baseline?": (
        *(Comparison("read/video", arm, "video", 1) for arm in ("joint", "joint-contrastive", "joint-modality")),
        Comparison("read/video", "joint-both", "video", 1),
        Comparison("read/audio", "joint-both", "audio", 1),
    ),
    "Does training four times as long help the video baseline?": (
        Comparison("read/video", "video-long", "video", 1),
        Comparison("read/video", "joint-both", "video-long", 1),
    ),
    "Does normalising word vectors over time improve lip reading?": (
        *(
            Comparison(f"read/{name}", f"{arm}-normalised", arm, 1)
            for name, arms in (("video", ("video", "joint", "joint-contrastive", "joint-both")), ("audio", ("audio",)))
            for arm in arms
        ),
        Comparison("read/video", "video-normalised", "video-mean", 1),
    ),
    "Does joint training improve lip reading over the best baseline, and over it with twice the steps?": (
        *(
            Comparison("read/video", f"{arm}-normalised", baseline, 1)
            for baseline in ("video-normalised", "video-normalised-long")
            for arm in ("joint", "joint-contrastive", "joint-both")
        ),
        Comparison("read/audio", "joint-both-normalised", "audio-normalised", 1),
    ),
    "Does normalising word vectors remove the person from wid?": (
        *(
            Comparison(f"probe/person_from_video_wid_{view}{kind}", f"{arm}-normalised", arm, -1)
            for arm in ("joint-contrastive", "joint-both")
            for view in ("frames", "moments")
            for kind in ("", "_mlp")
        ),
    ),
    "With a tenth of the words known, do clips without a word improve lip reading?": (
        *(
            Comparison(f"read/{side}", arm, "tenth", 1)
            for arm in ("tenth-masked", "tenth-tcp", "joint-contrastive-normalised")
            for side in ("video", "audio")
        ),
        *(Comparison(f"read/{side}", "tenth-tcp", "tenth-masked", 1) for side in ("video", "audio")),
    ),
    "Does a narrower wid remove the person and keep the words?": (
        *(
            Comparison(f"probe/person_from_video_wid_{view}", arm, "joint-contrastive-normalised", -1)
            for arm in ("joint-contrastive-64", "joint-contrastive-32")
            for view in ("frames", "moments")
        ),
        *(
            Comparison(f"read/{side}", arm, "joint-contrastive-normalised", 0)
            for arm in ("joint-contrastive-64", "joint-contrastive-32")
            for side in ("video", "audio")
        ),
    ),
    "Does the modality adversary improve lip reading?": (
        Comparison("read/video", "joint-modality", "joint", 1),
        Comparison("read/video", "joint-both", "joint-contrastive", 1),
    ),
    "Do the contrastive loss and the modality adversary align audio and video?": (
        Comparison("match/r1", "joint-contrastive", "joint", 1),
        Comparison("match/r1", "joint-modality", "joint", 1),
        Comparison("match/r1", "joint-both", "joint-contrastive", 1),
        Comparison("probe/modality_from_wid_mlp", "joint-modality", "joint", -1),
        Comparison("probe/modality_from_wid_mlp", "joint-both", "joint-contrastive", -1),
    ),
    "Does the adversary on pid remove the words and keep the person?": (
        Comparison("probe/word_from_pid", "talk-pid", "talk", -1),
        Comparison("probe/word_from_pid_mlp", "talk-pid", "talk", -1),
        Comparison("probe/word_from_maps", "talk-pid", "talk", -1),
        Comparison("probe/person_from_pid", "talk-pid", "talk", 0),
    ),
    "Does the adversary on wid remove the person and keep the words?": (
        Comparison("probe/person_from_video_wid", "joint-both-wid", "joint-both", -1),
        Comparison("probe/person_from_video_wid_mlp", "joint-both-wid", "joint-both", -1),
        Comparison("read/video", "joint-both-wid", "joint-both", 0),
        *(
            Comparison(f"probe/person_from_video_wid_{view}", "joint-both-normalised-wid", "joint-both-normalised", -1)
            for view in ("frames", "moments")
        ),
        Comparison("read/video", "joint-both-normalised-wid", "joint-both-normalised", 0),
    ),
    "Does the flow head improve the mouth?": tuple(
        Comparison(f"{figure}_{driver}", "talk-flow", "talk-64", claim)
        for figure, claim in (("motion/correlation", 1), ("motion/amplitude", 1), ("picture/mouth_l1", -1))
        for driver in ("audio", "video")
    ),
    "Does disentanglement improve lip motion at equal image quality?": (
        *(Comparison("motion/correlation_audio", arm, "talk-direct", 1) for arm in ("talk", "talk-pid-wid")),
        Comparison("motion/correlation_audio", "talk-pid", "talk", 1),
        Comparison("motion/correlation_audio", "talk-pid-normalised", "talk-pid", 1),
        Comparison("motion/correlation_audio", "talk-pid-wid", "talk", 1),
        Comparison("motion/amplitude_audio", "talk-pid-wid", "talk-direct", 1),
        Comparison("picture/psnr_audio", "talk-pid-wid", "talk-direct", 0),
        Comparison("picture/psnr_audio", "talk-pid", "talk", 0),
    ),
}


class Answer(NamedTuple):
    """The mean difference over the seeds of both arms, its 95 % t interval (NaN for one seed), and the verdict."""

    difference: float
    low: float
    high: float
    seeds: int
    verdict: str


def answer(figures: Figures, asked: Comparison) -> Answer | None:
    """Differences are taken seed by seed, so that a seed's common effect cancels; None where no seed has both arms."""
    ours, theirs = (figures.get(arm, {}) for arm in (asked.arm, asked.against))
    seeds = [s for s in ours if s in theirs and asked.figure in ours[s] and asked.figure in theirs[s]]
    if not seeds:
        return None
    differences = np.array([ours[s][asked.figure] - theirs[s][asked.figure] for s in seeds])
    mean, low, high = float(differences.mean()), float("nan"), float("nan")
    if len(seeds) > 1:
        half = stats.t.ppf((1 + CONFIDENCE) / 2, len(seeds) - 1) * differences.std(ddof=1) / len(seeds) ** 0.5
        low, high = mean - float(half), mean + float(half)
    return Answer(mean, low, high, len(seeds), _verdict(asked.claim, low, high, len(seeds)))


def _verdict(claim: int, low: float, high: float, seeds: int) -> str:
    if seeds < 2:
        return "undecided: one seed"
    if claim == 0:
        return "no change shown" if low <= 0 <= high else "higher" if low > 0 else "lower"
    if low <= 0 <= high:
        return "undecided"
    return "yes" if (low > 0) == (claim > 0) else "opposite"


def spread(figures: Figures, arm: str, name: str) -> tuple[float, float, int] | None:
    """Mean, standard deviation (NaN for one seed) and number of seeds of a figure; None where no seed has it."""
    values = [seed[name] for seed in figures.get(arm, {}).values() if name in seed]
    if not values:
        return None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"), len(values)
