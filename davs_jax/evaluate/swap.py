"""The swap test: the person of clip A says what clip B says. Is it still A, and is it still B's word?

Judges are fresh classifiers of pixels, fitted on real frames only, so neither the model's own encoders nor its own
pictures have a say in them.
"""

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from davs_jax.constants import mouth_box
from davs_jax.data.examples import View
from davs_jax.data.sources import ClipSource, text
from davs_jax.evaluate import metrics
from davs_jax.evaluate.pictures import PHOTO_FRAME
from davs_jax.evaluate.recognition import Vectors, word_frames
from davs_jax.inference import Davs

CLIPS = 800  # of the split, evenly spread: half to fit the judges on, half to swap
PAIRS = 200
MOUTH = 16, 8  # pixels that the mouth box is reduced to, gray, for the judge of words
FACE = 16, 16  # pixels that the face is reduced to, in colour, for the judge of persons


def swap_test(model: Davs, source: ClipSource, vectors: Vectors, seed: int) -> dict:
    """Swaps persons and words between real clips of one split.

    A random half of the clips is for fitting; pairs are drawn from the other, of two persons and two words.

    Args:
      vectors: of the first clips of the source, as `recognition.encode` returns them.
      seed: of the halves, the pairs and the intervals.

    Returns:
      `clips` (that judges were fitted on), `pairs`, and by what is asked (person; word_video and word_audio, by what
      drives) a dictionary of `real` (the judge on real frames that it was not fitted on), `accuracy` with `low` and
      `high` (on swapped frames, as A's person or B's word), `other` (as B's person or A's word) and `chance`.

    Raises:
      ValueError: persons or words are not known, or too few to swap.
    """
    at = np.unique(np.linspace(0, len(vectors.index) - 1, min(CLIPS, len(vectors.index))).astype(int))
    speaker, word = vectors.speaker[at], vectors.word[at]
    if (speaker < 0).any() or (word < 0).any():
        raise ValueError("the speaker or the word of some clips is not known, so a swap cannot be judged")
    fitted, judged = map(np.sort, np.array_split(np.random.default_rng(seed).permutation(len(at)), 2))
    pairs = _pairs(speaker, word, judged, seed)
    real, photos = _read(model, source, vectors.index[at])
    judges = {
        "person": _fit(_face_pixels, [real[i] for i in fitted], speaker[fitted]),
        "word": _fit(_mouth_pixels, [real[i] for i in fitted], word[fitted]),
    }
    figures: dict = {"clips": len(fitted), "pairs": len(pairs)}
    persons = {i: model.encode_person(photos[i]) for i in {a for a, _ in pairs}}
    heard = model.gains["audio_encoder"] * vectors.audio[at]
    seen = model.gains["visual_encoder"] * vectors.video[at]
    made = [[model.decode(persons[a], driving[b]) for driving in (seen, heard)] for a, b in pairs]
    a, b = np.array(pairs).T
    for driver, frames in zip(("video", "audio"), zip(*made, strict=True), strict=True):
        asked = {f"word_{driver}": ("word", word, b, a)}
        if driver == "video":
            asked["person"] = ("person", speaker, a, b)
        for name, (what, labels, right, other) in asked.items():
            answers = judges[what](frames)
            low, high = metrics.interval(answers == labels[right], speaker[a], seed=seed)
            figures[name] = {
                "real": float(np.mean(judges[what]([real[i] for i in judged]) == labels[judged])),
                "accuracy": float(np.mean(answers == labels[right])),
                "low": low,
                "high": high,
                "other": float(np.mean(answers == labels[other])),
                "chance": 1 / len(np.unique(labels)),
            }
    return figures


def _pairs(speaker: np.ndarray, word: np.ndarray, judged: np.ndarray, seed: int) -> list[tuple[int, int]]:
    """Positions (A, B) of clips of two persons and two words, drawn without repetition."""
    a, b = (side.ravel() for side in np.meshgrid(judged, judged, indexing="ij"))
    usable = np.flatnonzero((speaker[a] != speaker[b]) & (word[a] != word[b]))
    if not len(usable):
        raise ValueError("a swap needs two persons who say two words, and clips enough for two halves")
    drawn = np.random.default_rng(seed).permutation(usable)[:PAIRS]
    return [(int(a[i]), int(b[i])) for i in drawn]


def _read(model: Davs, source: ClipSource, index: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The word frames uint8 `[12, S, S, 3]` and the photo of each clip."""
    view, spoken, photos = View.central(source.image_size), [], []
    for i in index:
        record = source.record(int(i))
        name = f"{source.folder}: clip {text(record['clip_id'])}, frame"
        spoken.append(np.stack([view(record["frames"][t], f"{name} {t},") for t in word_frames(model)]))
        photos.append(view(record["frames"][PHOTO_FRAME], f"{name} {PHOTO_FRAME},"))
    return spoken, photos


def _fit(pixels, clips: list[np.ndarray], labels: np.ndarray):
    """A judge: clips' frames → labels."""
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    with threadpool_limits(1):
        classifier.fit(np.stack([pixels(frames) for frames in clips]), labels)
    return lambda clips: classifier.predict(np.stack([pixels(frames) for frames in clips]))


def _face_pixels(frames: np.ndarray) -> np.ndarray:
    """Frames `[T, S, S, 3]` → their mean, reduced, `[16·16·3]`."""
    return cv2.resize(frames.mean(0, dtype=np.float32), FACE, interpolation=cv2.INTER_AREA).ravel() / 255


def _mouth_pixels(frames: np.ndarray) -> np.ndarray:
    """Frames → the mouth boxes, reduced and gray, less the clip's mean, which is the person, `[T·8·16]`."""
    rows, columns = mouth_box(frames.shape[1])
    gray = frames[:, rows, columns].mean(-1, dtype=np.float32)
    boxes = np.stack([cv2.resize(box, MOUTH, interpolation=cv2.INTER_AREA) for box in gray]) / 255
    return (boxes - boxes.mean(0)).ravel()
