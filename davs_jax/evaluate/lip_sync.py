"""SyncNet's scores of a talking face, by its exact protocol, in named variants.

LSE-D is the least mean distance over offsets of ±15 frames (lower is better), LSE-C the median minus LSE-D (higher is
better). A variant defines the network's input and the treatment of missing audio, on which figures depend.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import jax
import numpy as np

from davs_jax import checkpoint
from davs_jax.constants import FPS, MFCC_PER_FRAME, SAMPLES_PER_FRAME
from davs_jax.errors import CheckpointError, NotMeasurable
from davs_jax.evaluate.sections import LipSync
from davs_jax.import_official import syncnet as import_syncnet
from davs_jax.media.audio import syncnet_features
from davs_jax.media.faces import detectors, tracking
from davs_jax.models.syncnet import COLUMNS, FRAMES, SIZE, SyncNet, mouth_part

REACH = 15  # frames of offset, to either side
BATCH = 8  # windows per call; the last is padded
EPSILON = 1e-6  # added to every difference, as PyTorch's pairwise distance does
TRACK_MARGIN = 0.4  # of the half side of the face's box, added around it
TRACK_MEDIAN = 13  # frames of the median that smooths the box
GRAY = 110  # beyond the image's edge
VARIANTS = {
    "whole-frame": "the whole image, resized to 224 px (as in Wav2Lip); audio beyond the ends counts as zero vectors",
    "face-track": "SyncNet's own crop around the face box; audio beyond the ends counts as zero vectors",
    "valid-only": "the whole image; every offset is a mean over the windows whose audio exists",
}


@dataclass(frozen=True)
class Score:
    """SyncNet's scores of one clip in one variant."""

    distance: float  # LSE-D
    confidence: float  # LSE-C
    offset: int  # frames, SyncNet's sign: positive where the audio is early
    windows: int  # of 5 frames, over which distances are averaged
    pairs: int  # (window, offset) pairs whose audio exists
    padded: int  # pairs whose audio is padding, counted in the means of every variant but valid-only


class Scorer:
    """SyncNet with its weights, jitted.

    Args:
      params, batch_stats: as `import_syncnet.convert` returns them.
      network: ours; None is the published one, whose vectors are compared as they are. Those of ours are scaled to
        length 1, since training compares their directions.
    """

    def __init__(self, params: dict, batch_stats: dict, network: SyncNet | None = None):
        variables = {"params": params, "batch_stats": batch_stats}
        self._released, network = network is None, network or SyncNet()
        self._size = network.size

        def embed(method: str):
            return jax.jit(lambda v, x: network.apply(v, x, train=False, method=method))

        self._variables = jax.device_put(variables)
        self._face, self._audio = embed("embed_face"), embed("embed_audio")

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
            raise CheckpointError(f"{path} holds {', '.join(params)}, no syncnet", "train one with configs/syncnet.py")
        return cls(params["syncnet"], batch_stats["syncnet"], SyncNet(config.model.width, config.model.sync_size))

    def vectors(self, frames: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """frames uint8 RGB `[T, S, S, 3]`, samples int16 `[N]` → face and audio vectors, `[W, 1024]` twice.

        W = min(T, ⌊N / 640⌋) − 5: the official code leaves the last possible window out. Frames are resized to what the
        network takes; ours takes the lower part of aligned faces.

        Raises:
          NotMeasurable: fewer than six frames with audio.
        """
        count = min(len(frames), len(samples) // SAMPLES_PER_FRAME) - FRAMES
        if count < 1:
            raise NotMeasurable(f"a clip of {count + FRAMES} frames with audio is too short for SyncNet, which takes 6")
        frames = frames if self._size == SIZE else mouth_part(frames)
        frames = np.stack([cv2.resize(frame, (self._size, self._size)) for frame in frames])
        mfcc = syncnet_features.mfcc(samples).astype(np.float32)
        faces, audio = [], []
        for start in range(0, count, BATCH):
            shown = np.minimum(start + np.arange(BATCH + FRAMES - 1), len(frames) - 1)
            images = frames[None, shown, ..., ::-1]  # BGR, as in the network's training
            faces.append(np.asarray(self._face(self._variables, np.ascontiguousarray(images))))
            at = np.minimum(start + np.arange(BATCH), count - 1)
            columns = mfcc[MFCC_PER_FRAME * at[:, None] + np.arange(COLUMNS)]
            audio.append(np.asarray(self._audio(self._variables, columns)))
        both = np.concatenate(faces)[:count], np.concatenate(audio)[:count]
        if self._released:
            return both
        faces, audio = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12) for vectors in both)
        return faces, audio

    def __call__(self, frames: np.ndarray, samples: np.ndarray) -> dict[str, Score]:
        """The scores of a clip in the variants whole-frame and valid-only; see `vectors`."""
        vectors = self.vectors(frames, samples)
        return {"whole-frame": score(*vectors), "valid-only": score(*vectors, valid_only=True)}

    def face_track(self, frames: np.ndarray, samples: np.ndarray) -> Score:
        """The score of a clip in the variant face-track.

        MTCNN detects the face; the official pipeline uses S3FD, whose boxes differ a little.

        Raises:
          NoFace: no frame shows a face.
        """
        return score(*self.vectors(track_crops(frames), samples))


def score(faces: np.ndarray, audio: np.ndarray, valid_only: bool = False, reach: int = REACH) -> Score:
    """SyncNet's protocol on vectors `[W, E]` twice.

    Row i holds the distances of face i to audio windows i − reach … i + reach. The official mean is over W windows at
    every offset and counts windows beyond the ends as zero vectors; `valid_only` leaves those windows out.
    """
    count, offsets = len(faces), np.arange(-reach, reach + 1)
    places = np.arange(count)[:, None] + offsets
    exists = (places >= 0) & (places < count)
    padded = np.pad(np.asarray(audio, np.float64), ((reach, reach), (0, 0)))
    means = []
    for column, offset in enumerate(offsets):
        opposite = padded[reach + offset : reach + offset + count]
        lengths = np.linalg.norm(np.asarray(faces, np.float64) - opposite + EPSILON, axis=1)
        kept = exists[:, column] if valid_only else slice(None)
        means.append(lengths[kept].mean() if lengths[kept].size else np.nan)
    means = np.array(means)
    best, pairs = int(np.nanargmin(means)), int(exists.sum())
    confidence = float(np.nanmedian(means) - means[best])
    return Score(float(means[best]), confidence, reach - best, count, pairs, exists.size - pairs)


def track_crops(frames: np.ndarray, detector: detectors.Detector | None = None) -> np.ndarray:
    """SyncNet's crops of a face: uint8 `[T, H, W, 3]` → uint8 `[T, 224, 224, 3]`.

    Let b be half the larger side of the face box; b and the box's centre are smoothed by a median over 13 frames. The
    crop is a square of side 2.8·b, from b above the centre to 1.8·b below it; gray 110 beyond the image.

    Raises:
      NoFace: none of the frames shows a face.
    """
    detector = detector or detectors.detector()
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


def table(scores: Iterable[Score]) -> LipSync:
    """Means over clips, and the counts behind them."""
    scores = list(scores)
    return LipSync(
        **{name: float(np.mean([getattr(s, name) for s in scores])) for name in ("distance", "confidence", "offset")},
        within_1=float(np.mean([abs(s.offset) <= 1 for s in scores])),
        clips=len(scores),
        **{name: sum(getattr(s, name) for s in scores) for name in ("windows", "pairs", "padded")},
    )


def describe(name: str, found: Score) -> str:
    """One line of text."""
    late = -found.offset
    return (
        f"{name:<12} LSE-D {found.distance:6.3f}  LSE-C {found.confidence:6.3f}  offset {found.offset:+d} "
        f"(the audio is {abs(late) / FPS:.2f} s {'late' if late > 0 else 'early' if late < 0 else 'off'})  "
        f"{found.windows} windows, {found.pairs} pairs with audio, {found.padded} padded"
    )
