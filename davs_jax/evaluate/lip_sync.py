"""SyncNet's scores of a talking face, by its exact protocol, in variants that are named.

LSE-D is the least mean distance over offsets of ±15 frames (lower is better), LSE-C the median less that (higher is
better). What else a figure depends on is its variant: what the network sees, and what stands in for missing sound.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import jax
import numpy as np

from davs_jax import checkpoint
from davs_jax.checkpoint.export import CheckpointError
from davs_jax.constants import FPS, MFCC_PER_FRAME, SAMPLES_PER_FRAME
from davs_jax.import_official import syncnet as import_syncnet
from davs_jax.media.audio import syncnet_features
from davs_jax.media.faces import tracking
from davs_jax.models.syncnet import COLUMNS, FRAMES, SIZE, SyncNet

REACH = 15  # frames of offset, to either side
BATCH = 8  # windows per call; the last is padded
EPSILON = 1e-6  # added to every difference, as PyTorch's pairwise distance does
TRACK_MARGIN = 0.4  # of the half side of the face's box, added around it
TRACK_MEDIAN = 13  # frames of the median that smooths the box
GRAY = 110  # beyond the picture's edge
VARIANTS = {
    "whole-frame": "the whole picture, reduced to 224 px (Wav2Lip's way); sound beyond the ends counts as zero vectors",
    "face-track": "SyncNet's own crop about the face's box; sound beyond the ends counts as zero vectors",
    "valid-only": "the whole picture; every offset is a mean over the windows whose sound exists",
}


@dataclass(frozen=True)
class Score:
    """What SyncNet says of one clip in one variant."""

    distance: float  # LSE-D
    confidence: float  # LSE-C
    offset: int  # frames, SyncNet's sign: positive where the sound is early
    windows: int  # of 5 frames, over which distances are averaged
    pairs: int  # (window, offset) pairs whose sound exists
    padded: int  # pairs whose sound is padding, counted in the means of every variant but valid-only


class Scorer:
    """SyncNet with its weights, jitted.

    Args:
      params, batch_stats: as `import_syncnet.convert` returns them.
      width: of the network.
    """

    def __init__(self, params: dict, batch_stats: dict, width: float = 1.0):
        variables, network = {"params": params, "batch_stats": batch_stats}, SyncNet(width)

        def embed(method: str):
            return jax.jit(lambda v, x: network.apply(v, x, train=False, method=method))

        self._variables = jax.device_put(variables)
        self._face, self._sound = embed("embed_face"), embed("embed_sound")

    @classmethod
    def load(cls, path: str | Path) -> "Scorer":
        """The released network from its file, or one of ours from a workdir or an exported folder.

        Raises:
          CheckpointError: as `import_syncnet.read` and `checkpoint.load_weights`; or the folder holds no SyncNet.
        """
        if not Path(path).is_dir():
            return cls(*import_syncnet.read(path))
        config, params, batch_stats = checkpoint.load_weights(str(path))
        if "syncnet" not in params:
            raise CheckpointError(f"{path} holds {', '.join(params)}, no syncnet; train one with configs/syncnet.py")
        return cls(params["syncnet"], batch_stats["syncnet"], config.model.width)

    def vectors(self, frames: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """frames uint8 RGB `[T, 224, 224, 3]`, samples int16 `[N]` → vectors of face and sound, `[W, 1024]` twice.

        W = min(T, ⌊N / 640⌋) − 5: the official code leaves the last possible window out.

        Raises:
          ValueError: frames of another size, or fewer than six.
        """
        if frames.shape[1:] != (SIZE, SIZE, 3):
            raise ValueError(f"SyncNet sees pictures of {SIZE} × {SIZE}, got {list(frames.shape)}")
        count = min(len(frames), len(samples) // SAMPLES_PER_FRAME) - FRAMES
        if count < 1:
            raise ValueError(f"a clip of {count + FRAMES} frames with sound is too short for SyncNet, which takes 6")
        mfcc = syncnet_features.mfcc(samples).astype(np.float32)
        faces, sounds = [], []
        for start in range(0, count, BATCH):
            film = np.minimum(start + np.arange(BATCH + FRAMES - 1), len(frames) - 1)
            pictures = frames[None, film, ..., ::-1]  # BGR, as the network was trained
            faces.append(np.asarray(self._face(self._variables, np.ascontiguousarray(pictures))))
            at = np.minimum(start + np.arange(BATCH), count - 1)
            columns = mfcc[MFCC_PER_FRAME * at[:, None] + np.arange(COLUMNS)]
            sounds.append(np.asarray(self._sound(self._variables, columns)))
        return np.concatenate(faces)[:count], np.concatenate(sounds)[:count]

    def __call__(self, frames: np.ndarray, samples: np.ndarray) -> dict[str, Score]:
        """The scores of a clip in the variants whole-frame and valid-only; see `vectors`."""
        pictures = np.stack([cv2.resize(frame, (SIZE, SIZE)) for frame in frames])
        vectors = self.vectors(pictures, samples)
        return {"whole-frame": score(*vectors), "valid-only": score(*vectors, valid_only=True)}

    def face_track(self, frames: np.ndarray, samples: np.ndarray) -> Score:
        """The score of a clip in the variant face-track.

        The face is found by MTCNN, not by the S3FD of the official pipeline, whose boxes differ a little.

        Raises:
          NoFace: there is none.
        """
        return score(*self.vectors(track_crops(frames), samples))


def score(faces: np.ndarray, sounds: np.ndarray, valid_only: bool = False, reach: int = REACH) -> Score:
    """SyncNet's protocol on vectors `[W, E]` twice.

    Row i holds the distances of face i to sounds i − reach … i + reach. The official mean counts sounds beyond the
    ends as zero vectors, at every offset W of them; `valid_only` leaves them out, and offsets of which none is left.
    """
    count, offsets = len(faces), np.arange(-reach, reach + 1)
    places = np.arange(count)[:, None] + offsets
    exists = (places >= 0) & (places < count)
    padded = np.pad(np.asarray(sounds, np.float64), ((reach, reach), (0, 0)))
    means = []
    for column, offset in enumerate(offsets):
        met = padded[reach + offset : reach + offset + count]
        lengths = np.linalg.norm(np.asarray(faces, np.float64) - met + EPSILON, axis=1)
        kept = exists[:, column] if valid_only else slice(None)
        means.append(lengths[kept].mean() if lengths[kept].size else np.nan)
    means = np.array(means)
    best, pairs = int(np.nanargmin(means)), int(exists.sum())
    confidence = float(np.nanmedian(means) - means[best])
    return Score(float(means[best]), confidence, reach - best, count, pairs, exists.size - pairs)


def track_crops(frames: np.ndarray, detector: tracking.Detector | None = None) -> np.ndarray:
    """SyncNet's crops of a face: uint8 `[T, H, W, 3]` → uint8 `[T, 224, 224, 3]`.

    With b half the larger side of the face's box, smoothed by a median over 13 frames as its centre is, the crop is a
    square of 2.8·b, from b above the box's centre to 1.8·b below it; gray 110 beyond the picture.

    Raises:
      NoFace: none of the frames shows a face.
    """
    detector = detector or tracking.default_detector()
    seen, boxes = [], []
    for i, frame in enumerate(frames):
        if found := detector.detect(frame):
            seen.append(i)
            boxes.append(max(found, key=lambda f: f.box[2] * f.box[3]).box)
    if not seen:
        raise tracking.NoFace(f"no face in any of the {len(frames)} frames")
    boxes = np.stack([np.interp(np.arange(len(frames)), seen, side) for side in np.stack(boxes).T], 1)
    geometry = np.stack([np.maximum(boxes[:, 2], boxes[:, 3]) / 2, *(boxes[:, :2] + boxes[:, 2:] / 2).T], 1)
    return np.stack([_crop(frame, *row) for frame, row in zip(frames, _median(geometry), strict=True)])


def _crop(frame: np.ndarray, half: float, x: float, y: float) -> np.ndarray:
    margin = int(half * (1 + 2 * TRACK_MARGIN))
    padded = np.pad(frame, ((margin, margin), (margin, margin), (0, 0)), constant_values=GRAY)
    x, y, wide = x + margin, y + margin, half * (1 + TRACK_MARGIN)
    rows = slice(int(y - half), int(y + half * (1 + 2 * TRACK_MARGIN)))
    columns = slice(int(x - wide), int(x + wide))
    return cv2.resize(padded[rows, columns], (SIZE, SIZE))


def _median(values: np.ndarray) -> np.ndarray:
    """Running median of each column over TRACK_MEDIAN rows; beyond the ends the nearest row."""
    padded = np.pad(values, ((TRACK_MEDIAN // 2,) * 2, (0, 0)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, TRACK_MEDIAN, 0), axis=-1)


def table(scores: Iterable[Score]) -> dict[str, float]:
    """Means over clips, and the counts that say what they are means of."""
    scores = list(scores)
    mean = {name: float(np.mean([getattr(s, name) for s in scores])) for name in ("distance", "confidence", "offset")}
    return mean | {
        "within_1": float(np.mean([abs(s.offset) <= 1 for s in scores])),
        "clips": len(scores),
        **{name: sum(getattr(s, name) for s in scores) for name in ("windows", "pairs", "padded")},
    }


def describe(name: str, found: Score) -> str:
    """One line of text."""
    late = -found.offset
    return (
        f"{name:<12} LSE-D {found.distance:6.3f}  LSE-C {found.confidence:6.3f}  offset {found.offset:+d} "
        f"(the sound is {abs(late) / FPS:.2f} s {'late' if late > 0 else 'early' if late < 0 else 'off'})  "
        f"{found.windows} windows, {found.pairs} pairs with sound, {found.padded} padded"
    )
