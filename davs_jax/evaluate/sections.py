"""The sections of an evaluation, typed: what each figure is called, its bounds, and how report.json stores it.

Sections are filled by the parts of an evaluation (`evaluation.PARTS`) and read by the report page, the comparison and
the ablations.
"""

from dataclasses import dataclass
from typing import Annotated

from davs_jax.evaluate.shown import BESIDE, HIDDEN, Shown


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over clips with its 95 % interval."""

    mean: Annotated[float, Shown("", bounds=("low", "high"))]
    low: Annotated[float, HIDDEN]
    high: Annotated[float, HIDDEN]


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """The share of words that is named correctly, and that is among the first five, with 95 % intervals."""

    accuracy: Annotated[float, Shown("", share=True, bounds=("low", "high"))]
    low: Annotated[float, HIDDEN]
    high: Annotated[float, HIDDEN]
    top5: Annotated[float, Shown("among the first five", share=True, bounds=("top5_low", "top5_high"))]
    top5_low: Annotated[float, HIDDEN]
    top5_high: Annotated[float, HIDDEN]


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Factors of the word logits where a word is read from both; fitted on `clips` of the validation split."""

    audio: float
    video: float
    clips: Annotated[int, HIDDEN]


@dataclass(frozen=True, kw_only=True)
class Word:
    """One word's clips, the share of them that is read from each modality, and what it is most often taken for."""

    clips: int
    audio: float | None = None
    video: float | None = None
    both: float | None = None
    taken_for: str


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Retrieval of each query's own clip: the share among the nearest k, and the rank, 1-based."""

    r1: Annotated[float, Shown("R@1", share=True)]
    r5: Annotated[float, Shown("R@5", share=True)]
    r10: Annotated[float, Shown("R@10", share=True)]
    r50: Annotated[float, Shown("R@50", share=True)]
    median_rank: float
    mean_rank: float
    gallery: int


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Retrieval among all clips, by direction."""

    audio_to_video: Annotated[Ranks, Shown("audio → its video")]
    video_to_audio: Annotated[Ranks, Shown("video → its audio")]


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share with its 95 % interval, and what guessing reaches."""

    accuracy: Annotated[float, Shown("", share=True, bounds=("low", "high"))]
    low: Annotated[float, HIDDEN]
    high: Annotated[float, HIDDEN]
    chance: Annotated[float, Shown("chance", share=True)]


@dataclass(frozen=True, kw_only=True)
class Synchronisation:
    """The model's own audio-video offsets.

    Attributes:
      offsets: clips by the number of frames by which their audio is late.
      distance, confidence: means over clips.
      exact, within_1: known shifts that are found to the frame, and within one frame.
    """

    offsets: Annotated[dict[str, int], HIDDEN]
    distance: float
    confidence: float
    exact: Annotated[Share, Shown("known shifts found to the frame")]
    within_1: Annotated[Share, Shown("known shifts found within one frame")]


@dataclass(frozen=True, kw_only=True)
class Probe(Share):
    """A probe's cross-validated accuracy; `chance` is the share of the commonest label."""

    clips: int
    classes: int


@dataclass(frozen=True, kw_only=True)
class Probes(Probe):
    """A linear probe and, under `mlp`, the one with a hidden layer."""

    mlp: Annotated[Probe, Shown("with a hidden layer", only=("accuracy",))]


@dataclass(frozen=True, kw_only=True)
class Swapped:
    """How often a classifier names swapped frames as it should (`accuracy`), as the other clip, and by chance.

    `real` is its accuracy on real frames that it was not fitted on.
    """

    real: Annotated[float, Shown("real frames", share=True)]
    accuracy: Annotated[float, Shown("", share=True, bounds=("low", "high"))]
    low: Annotated[float, HIDDEN]
    high: Annotated[float, HIDDEN]
    other: Annotated[float, Shown("as the other", share=True)]
    chance: Annotated[float, Shown("chance", share=True)]


@dataclass(frozen=True, kw_only=True)
class Swap:
    """The swap test: clips that the classifiers were fitted on, swapped pairs, and the result by question."""

    clips: int
    pairs: int
    word_video: Annotated[Swapped, Shown("B's word, driven by B's video")]
    person: Annotated[Swapped, Shown("A's person")]
    word_audio: Annotated[Swapped, Shown("B's word, driven by B's audio")]


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """Generated frames against the real ones: `metrics.image_figures`, and what `generated.measure` adds to them."""

    psnr: Annotated[Mean, Shown("PSNR, dB ↑")]
    ssim: Annotated[Mean, Shown("SSIM ↑")]
    mouth_psnr: Annotated[Mean, Shown("mouth PSNR, dB ↑")]
    mouth_l1: Annotated[Mean, Shown("mouth L1 ↓")]
    legacy_psnr: Annotated[Mean, Shown("legacy PSNR, dB")]
    jitter: Annotated[Mean, Shown("jitter ↓")]
    identity: Annotated[Mean | None, Shown("identity ↑")] = None
    read: Annotated[Mean | None, Shown("words read ↑", share=True)] = None
    sharpness: Annotated[Mean | None, Shown("mouth sharpness")] = None


@dataclass(frozen=True, kw_only=True)
class Corners:
    """The mean distance of the mouth corners, None where no frame was measured, and the frames measured and missed."""

    mean: Annotated[float | None, Shown("")]
    frames: int
    missed: int


@dataclass(frozen=True, kw_only=True)
class CornerMeasure:
    """What the mouth corners were measured with."""

    detector: str
    divisor: str
    size: str
    clips: int


@dataclass(frozen=True, kw_only=True)
class Landmarks:
    measure: CornerMeasure
    by_driver: Annotated[dict[str, Corners], BESIDE]


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How well one curve follows another; see `metrics.motion`."""

    correlation: Annotated[float, Shown("correlation", bounds=("low", "high"))]
    amplitude: float
    low: Annotated[float, HIDDEN]
    high: Annotated[float, HIDDEN]


@dataclass(frozen=True, kw_only=True)
class LipMotion(Motion):
    """The motion of the lips' opening, and the mean distance of the lips' points, both against the real frames'."""

    distance: Annotated[float, Shown("landmark distance ↓")]


@dataclass(frozen=True, kw_only=True)
class LipMeasure:
    """What the lips were measured with; on real frames its mouth corners are `apart` from those of the `second`."""

    detector: str
    second: str
    apart: float | None
    clips: int


@dataclass(frozen=True, kw_only=True)
class Lips:
    measure: LipMeasure
    by_driver: Annotated[dict[str, LipMotion], BESIDE]


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whether the mouth-opening estimator agrees with the truth on real frames, and the clips with a known truth."""

    trusted: bool
    clips: int


@dataclass(frozen=True, kw_only=True)
class MouthMotion:
    """By driver, the motion of the estimated mouth opening against the true one; "real" is of the real frames."""

    by_driver: Annotated[dict[str, Motion], BESIDE]
    estimator: Annotated[Trust, Shown("mouth-opening estimator", key="ruler")]


@dataclass(frozen=True, kw_only=True)
class LipSync:
    """SyncNet's scores: means over clips, and the counts behind them."""

    distance: Annotated[float, Shown("LSE-D ↓")]
    confidence: Annotated[float, Shown("LSE-C ↑")]
    offset: float
    within_1: Annotated[float, Shown("within one frame", share=True)]
    clips: int
    windows: int
    pairs: int
    padded: int


@dataclass(frozen=True, kw_only=True)
class Distances:
    """LPIPS and FID of one driver; None is a network whose weights were not given."""

    lpips: Annotated[Mean | None, Shown("LPIPS ↓")] = None
    fid: Annotated[float | None, Shown("FID ↓")] = None


@dataclass(frozen=True, kw_only=True)
class DistanceMeasure:
    """What LPIPS and FID were measured with, and on how much: `images` of each driver."""

    lpips: Annotated[str | None, Shown("LPIPS")] = None
    fid: Annotated[str | None, Shown("FID")] = None
    clips: int
    images: Annotated[int, Shown(key="pictures")]


@dataclass(frozen=True, kw_only=True)
class Perceptual:
    by_driver: Annotated[dict[str, Distances], BESIDE]
    measure: DistanceMeasure


@dataclass(frozen=True, kw_only=True)
class Control:
    """The sections of another model's report that are shown beside this one's: a model without adversaries."""

    probes: dict[str, Probes] | None = None
    face_probes: dict[str, Probes] | None = None
    swap: Swap | None = None


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All sections of a report. Dictionaries go by driver, modality, word or `what_from_where` of a probe."""

    retrieval: Annotated[Retrieval | None, Shown("Retrieval")] = None
    sync: Annotated[Synchronisation | None, Shown("Synchronisation, by the model itself")] = None
    accuracy: Annotated[dict[str, Accuracy] | None, Shown("Lip reading and speech recognition")] = None
    accuracy_baselines: Annotated[
        dict[str, dict[str, Accuracy]] | None, Shown("… with fresh weights, and with audio exchanged")
    ] = None
    fusion: Annotated[Fusion | None, Shown("Weights of the logits, fitted on the validation split")] = None
    words: Annotated[dict[str, Word] | None, HIDDEN] = None
    probes: Annotated[dict[str, Probes] | None, Shown("Disentanglement: probes for words and people")] = None
    control: Annotated[Control | None, HIDDEN] = None
    face_probes: Annotated[dict[str, Probes] | None, Shown("… on identity images")] = None
    swap: Annotated[Swap | None, Shown("Swapped: the person of A says what B says")] = None
    likeness: Annotated[dict[str, Likeness] | None, Shown("Generated frames", key="pictures")] = None
    landmarks: Annotated[Landmarks | None, Shown("Mouth corners")] = None
    lips: Annotated[Lips | None, Shown("Lips")] = None
    activity: Annotated[dict[str, Motion] | None, Shown("Mouth activity")] = None
    lip_sync: Annotated[dict[str, dict[str, LipSync]] | None, Shown("Lip sync, scored by SyncNet")] = None
    perceptual: Annotated[Perceptual | None, Shown("Perceptual similarity: LPIPS and FID")] = None
    motion: Annotated[MouthMotion | None, Shown("Mouth motion")] = None
