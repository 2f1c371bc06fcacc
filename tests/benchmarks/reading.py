"""Clips per second of our reading, against the official loader's way, on the same threads.

    PYTHONPATH=tests python tests/benchmarks/reading.py [--clips 64] [--threads 2]

The official way: a clip is 25 JPEG files and 25 files of the double-precision MFCC of a frame; a sample opens and
decodes all of them, mirrors, and converts to float64. Ours: records, of which the frames of the sample's windows are
decoded. Both give 256 px; the images are the same, with as much detail as a photo's; all of it lies in the page
cache, and rounds alternate. On a busy machine, compare clips per second of CPU time, all threads together; clips per
second of wall-clock time are printed as well.
"""

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from configs import common
from davs_jax import constants
from davs_jax.command_line import whole
from davs_jax.data import pipeline, records
from davs_jax.face_geometry import stored_size
from support.tiny_data import SPEAKERS, WORDS, clip_record, tiny, write_shards

SIZE = 256
USED = range(2, 27)
ROUNDS = 3
BATCH = 8  # clips
STAGES = {
    "word stage": ("frames", "speech", "word"),
    "joint stage": ("frames", "speech", "word", "generate_start", "identity_frame", "adversary_frames"),
}


def photo(seed: int) -> np.ndarray:
    """A face-like image of 260 px, with as much detail as a photo, uint8 RGB."""
    rng = np.random.default_rng(seed)
    side = stored_size(SIZE)
    smooth = sum(
        cv2.resize(rng.normal(0, 20, (n, n, 3)), (side, side), interpolation=cv2.INTER_CUBIC) for n in (4, 8, 16, 64)
    )
    return np.clip(128 + smooth + rng.normal(0, 3, (side, side, 3)), 0, 255).astype(np.uint8)


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def make(folder: Path, clips: int) -> None:
    """The same clips in both forms: `files/N/…` and a TFDS folder `shards`."""
    (folder / "shards").mkdir(parents=True)
    images = [photo(seed) for seed in range(constants.CLIP_FRAMES)]
    stored, cropped = [jpeg(image) for image in images], [jpeg(image[2:258, 2:258]) for image in images]
    examples = []
    for i in range(clips):
        record = clip_record(i) | {"frames": stored}
        examples.append(record)
        place = folder / "files" / str(i)
        place.mkdir(parents=True)
        for t in USED:
            (place / f"{t}.jpg").write_bytes(cropped[t])
            record["mfcc"][4 * t : 4 * t + 20].astype(np.float64).tofile(place / f"{t}.bin")
    write_shards(folder / "shards", "clips", records.clip_features(WORDS, SPEAKERS), {"train": examples})


def official(place: Path) -> tuple[np.ndarray, np.ndarray]:
    """One sample the official way: float64 `[25, 3, 256, 256]` and `[25, 20, 12]`."""
    frames, mfcc = np.zeros((25, SIZE, SIZE, 3)), np.zeros((25, 20, 12))
    mirrored = np.random.default_rng().integers(2)
    for k, t in enumerate(USED):
        image = cv2.cvtColor(cv2.imread(str(place / f"{t}.jpg")), cv2.COLOR_BGR2RGB) / 255
        frames[k] = image[:, ::-1] if mirrored else image
        mfcc[k] = np.fromfile(place / f"{t}.bin").reshape(20, 12)
    return frames.transpose(0, 3, 1, 2), mfcc


def by_files(folder: Path, clips: int, threads: int) -> tuple[float, float]:
    """Clips per second of CPU, and of the clock."""
    with ThreadPoolExecutor(threads) as pool:
        began = now()
        for _ in pool.map(official, [folder / "files" / str(i) for i in range(clips)]):
            pass
        return tuple(clips / (now() - began))


def now() -> np.ndarray:
    """Seconds of CPU, and of the clock."""
    return np.array([time.process_time(), time.perf_counter()])


def by_records(folder: Path, clips: int, threads: int, keys) -> tuple[float, float]:
    """Clips per second of CPU, and of the clock."""
    config = tiny(common.get_config("joint"), str(folder / "shards"), "")
    config.model.update(image_size=SIZE, num_words=len(WORDS), adversary_frames=20)
    config.data.update(batch_size=BATCH, threads=threads)
    batches = iter(pipeline.host_batches(config, keys))
    began = now()  # from the first batch on: what is read ahead of the last one is ours to pay for
    for _ in range(clips // BATCH):
        next(batches)
    return tuple(clips // BATCH * BATCH / (now() - began))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=whole(BATCH), default=64, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="default: %(default)s")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder, args.clips)
        rates = {name: [] for name in ("official way", *STAGES)}
        for _ in range(ROUNDS):
            rates["official way"].append(by_files(folder, args.clips, args.threads))
            for name, keys in STAGES.items():
                rates[name].append(by_records(folder, args.clips, args.threads, keys))
    slow = np.median(rates["official way"], 0)
    for name, found in rates.items():
        cpu, clock = np.median(found, 0)
        spread = ", ".join(f"{rate:.1f}" for rate, _ in found)
        told = f"{cpu:.1f} clips per s of CPU ({cpu / slow[0]:.1f} ×; rounds {spread})"
        print(f"{name}: {told}, {clock:.1f} per s of the clock ({clock / slow[1]:.1f} ×)")


if __name__ == "__main__":
    main()
