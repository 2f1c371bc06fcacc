"""What is read in the person's clips before training: the linear model of the lips, and a bank of frames."""

import numpy as np

from davs_jax.baselines.mouth_region import mouth_region
from davs_jax.baselines.one_subject import texture
from davs_jax.baselines.one_subject.examples import lip_points
from davs_jax.constants import CLIP_FRAMES
from davs_jax.data.examples import View
from davs_jax.data.sources import open_clips, text
from davs_jax.display.progress import progress
from davs_jax.errors import DataError


def fit(config) -> dict[str, np.ndarray]:
    """Parameters of the network `footage`: float32 `mean` `[36]`, `basis` `[36, K]`, `shapes` `[M, K]`, `faces`
    `[M, S/2, S/2, 3]` and `proxy` `[]`.

    The basis holds the K principal directions of the lip points, all divided by the deviation of the first. The bank
    holds M frames: the first one, then each time the one whose shape is farthest from all that are in it.

    Raises:
      DataError: the clips are of several people, or have fewer frames than the bank.
      DetectorError: the weights of FaceMesh are not installed.
    """
    source, model = open_clips(config.data.clips, config.data.split), config.model
    if (people := {int(source.record(i)["speaker"]) for i in range(len(source))}) - {-1} and len(people) > 1:
        raise DataError(
            f"{source.folder} has clips of {len(people)} people, and this system is fitted to one",
            "prepare the clips of one person alone, such as one folder of GRID",
        )
    if len(source) * CLIP_FRAMES < model.bank:
        raise DataError(
            f"{source.folder} has {len(source) * CLIP_FRAMES} frames but config.model.bank is {model.bank}",
            "set config.model.bank to less",
        )
    points = []
    for i in progress(range(len(source)), desc="finding lips", unit="clip"):
        record = source.record(i)
        points.append(lip_points(text(record["clip_id"]), model.image_size, record["frames"][:CLIP_FRAMES]))
    flat = np.concatenate(points).reshape(-1, points[0][0].size).astype(np.float64)
    mean = flat.mean(0)
    _, spread, directions = np.linalg.svd(flat - mean, full_matrices=False)
    basis = directions[: model.coefficients].T / max(spread[0] / np.sqrt(len(flat)), 1e-9)
    shapes = (flat - mean) @ basis
    chosen = farthest(shapes, model.bank)
    view, faces = View.central(model.image_size), []
    for at in chosen:
        clip, frame = divmod(int(at), CLIP_FRAMES)
        faces.append(mouth_region(view(source.record(clip)["frames"][frame], f"clip {clip}, frame {frame},")))
    found = {
        "mean": mean,
        "basis": basis,
        "shapes": shapes[chosen],
        "faces": np.stack(faces),
        "proxy": np.array(texture.sharpest(np.stack(faces), flat[chosen].reshape(len(chosen), -1, 2))),
    }
    return {name: np.asarray(value, np.float32) for name, value in found.items()}


def farthest(shapes: np.ndarray, count: int) -> np.ndarray:
    """Indices of `count` rows of `[N, K]`: the first, then each time the farthest from all chosen; `[count]`."""
    chosen, distance = [0], np.square(shapes - shapes[0]).sum(1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.square(shapes - shapes[chosen[-1]]).sum(1))
    return np.array(chosen)
