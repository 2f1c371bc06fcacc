"""The swap test: frames of clip A's person saying clip B's word. Is the person still A's, and the word still B's?

New classifiers of pixels decide, fitted on real frames only: they depend neither on the model's encoders nor on its
generated images.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from davs_jax.data.examples import View
from davs_jax.data.sources import ClipSource, text
from davs_jax.errors import NotMeasurable
from davs_jax.evaluate import metrics
from davs_jax.evaluate.generated import PHOTO_FRAME
from davs_jax.evaluate.recognition import Vectors
from davs_jax.evaluate.sections import Swap, Swapped
from davs_jax.face_geometry import mouth_box
from davs_jax.inference import Davs

CLIPS = 800  # of the split, evenly spread: half to fit the classifiers on, half to swap
PAIRS = 200
MOUTH = 16, 8  # pixels that the mouth box is reduced to, gray, for the word classifier
FACE = 16, 16  # pixels that the face is reduced to, in colour, for the person classifier


def swap_test(model: Davs, source: ClipSource, vectors: Vectors, seed: int) -> Swap:
    """Swaps persons and words between real clips of one split.

    The classifiers are fitted on a random half of the clips; pairs of two persons and two words are sampled from the
    other half.

    Args:
      vectors: of the first clips of the source, as `recognition.encode` returns them.
      seed: of the halves, the pairs and the intervals.

    Raises:
      NotMeasurable: persons or words are not known, or too few to swap.
      DataError: while reading, a damaged record.
    """
    at = np.unique(np.linspace(0, len(vectors.index) - 1, min(CLIPS, len(vectors.index))).astype(int))
    speaker, word = vectors.speaker[at], vectors.word[at]
    if (speaker < 0).any() or (word < 0).any():
        raise NotMeasurable("the speaker or the word of some clips is not known, so a swap cannot be classified")
    fitted, unseen = map(np.sort, np.array_split(np.random.default_rng(seed).permutation(len(at)), 2))
    pairs = _pairs(speaker, word, unseen, seed)
    if min(len(np.unique(labels[fitted])) for labels in (speaker, word)) < 2:
        raise NotMeasurable("the clips that a swap's classifiers are fitted on hold one person or one word only")
    real, photos = _read(model, source, vectors.index[at])
    classifiers = {
        "person": _fit(_face_pixels, [real[i] for i in fitted], speaker[fitted]),
        "word": _fit(_mouth_pixels, [real[i] for i in fitted], word[fitted]),
    }
    persons = {i: model.encode_person(photos[i]) for i in {a for a, _ in pairs}}
    by_audio = model.driving("audio_encoder", vectors.audio[at])
    by_video = model.driving("visual_encoder", vectors.video[at])
    swapped = [[model.decode(persons[a], wid[b]) for wid in (by_video, by_audio)] for a, b in pairs]
    from_video, from_audio = zip(*swapped, strict=True)
    a, b = np.array(pairs).T

    def asked(what: str, labels: np.ndarray, frames: Sequence[np.ndarray], right: np.ndarray, other: np.ndarray):
        answers = classifiers[what](frames)
        low, high = metrics.interval(answers == labels[right], speaker[a], seed=seed)
        return Swapped(
            real=float(np.mean(classifiers[what]([real[i] for i in unseen]) == labels[unseen])),
            accuracy=float(np.mean(answers == labels[right])),
            low=low,
            high=high,
            other=float(np.mean(answers == labels[other])),
            chance=1 / len(np.unique(labels)),
        )

    return Swap(
        clips=len(fitted),
        pairs=len(pairs),
        word_video=asked("word", word, from_video, b, a),
        person=asked("person", speaker, from_video, a, b),
        word_audio=asked("word", word, from_audio, b, a),
    )


def _pairs(speaker: np.ndarray, word: np.ndarray, among: np.ndarray, seed: int) -> list[tuple[int, int]]:
    """Positions (A, B) of clips of two persons and two words, sampled without repetition."""
    a, b = (side.ravel() for side in np.meshgrid(among, among, indexing="ij"))
    usable = np.flatnonzero((speaker[a] != speaker[b]) & (word[a] != word[b]))
    if not len(usable):
        raise NotMeasurable("a swap needs two persons who say two words, and clips enough for two halves")
    sampled = np.random.default_rng(seed).permutation(usable)[:PAIRS]
    return [(int(a[i]), int(b[i])) for i in sampled]


def _read(model: Davs, source: ClipSource, index: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The word frames uint8 `[12, S, S, 3]` and the photo of each clip."""
    view, spoken, photos = View.central(source.image_size), [], []
    for i in index:
        record = source.record(int(i))
        name = f"{source.folder}: clip {text(record['clip_id'])}, frame"
        spoken.append(np.stack([view(record["frames"][t], f"{name} {t},") for t in model.word_frames]))
        photos.append(view(record["frames"][PHOTO_FRAME], f"{name} {PHOTO_FRAME},"))
    return spoken, photos


def _fit(pixels, clips: list[np.ndarray], labels: np.ndarray):
    """A classifier: clips' frames → labels."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    with threadpool_limits(1):
        classifier.fit(np.stack([pixels(frames) for frames in clips]), labels)
    return lambda clips: classifier.predict(np.stack([pixels(frames) for frames in clips]))


def _face_pixels(frames: np.ndarray) -> np.ndarray:
    """Frames `[T, S, S, 3]` → their mean, reduced, `[16·16·3]`."""
    return cv2.resize(frames.mean(0, dtype=np.float32), FACE, interpolation=cv2.INTER_AREA).ravel() / 255


def _mouth_pixels(frames: np.ndarray) -> np.ndarray:
    """Frames → the mouth boxes, reduced and gray, less the clip's mean, which shows the person, `[T·8·16]`."""
    rows, columns = mouth_box(frames.shape[1])
    gray = frames[:, rows, columns].mean(-1, dtype=np.float32)
    boxes = np.stack([cv2.resize(box, MOUTH, interpolation=cv2.INTER_AREA) for box in gray]) / 255
    return (boxes - boxes.mean(0)).ravel()
