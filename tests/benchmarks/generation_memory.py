"""Memory that generation takes for seconds, minutes and hours of audio, each length in its own process.

    python tests/benchmarks/generation_memory.py [--seconds 10 600 7200]

prints for each length the frames, seconds of work, and the most memory that the process has held, beside what it held
before the first frame. Networks are small ones with random weights (64 px, width 1/16), since only memory counts.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))


def peak() -> float:
    """Most memory that this process has held so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def write_speech(path: Path, seconds: int) -> None:
    """Noise that comes and goes, written a second at a time: 16 kHz, mono, 16 bits."""
    rng = np.random.default_rng(0)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        for _ in range(seconds):
            loudness = np.abs(np.sin(np.arange(16_000) * (3 * np.pi / 16_000)))
            file.writeframes((3_000 * loudness * rng.standard_normal(16_000)).astype("<i2").tobytes())


def generate(speech: Path, output: Path) -> None:
    """One length, in this process."""
    from configs import common
    from davs_jax.generate.read import read_speech
    from davs_jax.generate.result import write_result
    from davs_jax.inference import Davs
    from davs_jax.media.photo import Photo
    from support.tiny_model import random_weights

    config = common.get_config("joint")
    config.model.update({"image_size": 64, "width": 1 / 16, "num_words": 10, "num_identities": 10})
    model = Davs(config, *random_weights(config), batch=32)
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    model.decode(model.encode_person(crop), model.wid_from_audio(np.zeros((1, 20, 12), np.float32)))
    before, began = peak(), time.perf_counter()
    driver = read_speech(speech)
    made = write_result(model, Photo(crop, None, crop), driver, output)
    seconds = time.perf_counter() - began
    print(f"{made.frames:>8,} frames {seconds:>7.0f} s {before:>7.0f} → {peak():.0f} MiB; {made.stages}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 600, 7_200], help="default: %(default)s")
    parser.add_argument("--child", type=Path, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        generate(*args.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        for seconds in args.seconds:
            speech, output = Path(folder, "speech.wav"), Path(folder, "out.mp4")
            write_speech(speech, seconds)
            print(f"{seconds:>6} s of audio:", end=" ", flush=True)
            subprocess.run([sys.executable, __file__, "--child", speech, output], check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
