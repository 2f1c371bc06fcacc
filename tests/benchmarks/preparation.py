"""Speed of the preparation against a plain script: decoding by OpenCV, detection in every frame, one process.

    python tests/benchmarks/preparation.py GRID [--sentences 24] [--rounds 2]

Both use the same detector and alignment, and make aligned JPEGs at 256 px and MFCC of each word of GRID's sentences.
Ours is the whole command, including start, plan, checks and report, in 2 processes; the script makes no track, no
measures and no dataset. Prints wall-clock seconds, and CPU seconds including child processes.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from data_prep.clips import encode_jpeg
from davs_jax.media.audio import clip_mfcc
from davs_jax.media.faces import alignment, detectors
from davs_jax.media.video.read import read_audio


def plain_script(folder: Path, output: Path) -> int:
    """Returns the number of clips."""
    detector, clips = detectors.detector(), 0
    for path in sorted(folder.glob("**/*.mp4")):
        video = cv2.VideoCapture(str(path))
        frames, faces = [], []
        while True:
            read, frame = video.read()
            if not read:
                break
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            found = detector.detect(frames[-1])
            faces.append(max(found, key=lambda face: face.box[2]).points if found else faces[-1])
        audio = read_audio(path)
        for number, line in enumerate(path.with_suffix(".align").read_text().splitlines()):
            start, end, word = line.split()
            if word in ("sil", "sp"):
                continue
            first = min(max(0, round((int(start) + int(end)) / 2000 - 14.5)), len(frames) - 29)
            jpegs = [encode_jpeg(alignment.align(frames[i], faces[i])) for i in range(first, first + 29)]
            mfcc = clip_mfcc(audio[first * 640 :][: 29 * 640], 29)
            images = {str(i): np.frombuffer(jpeg, np.uint8) for i, jpeg in enumerate(jpegs)}
            np.savez(output / f"{path.stem}-{number}.npz", mfcc=mfcc, **images)
            clips += 1
    return clips


def ours(folder: Path, output: Path) -> None:
    flags = ["--input", str(folder), "--output", str(output), "--image-size", "256", "--workers", "2"]
    subprocess.run([sys.executable, "-m", "data_prep.grid", *flags], check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("grid", type=Path, help="folder of a speaker of GRID, .mp4 and .align side by side")
    parser.add_argument("--sentences", type=int, default=24, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=2, help="default: %(default)s")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        corpus = Path(place, "s1")
        corpus.mkdir()
        for path in sorted(args.grid.glob("*.mp4"))[: args.sentences]:
            for file in (path, path.with_suffix(".align")):
                os.symlink(file.resolve(), corpus / file.name)
        for turn in range(args.rounds):
            made = Path(place, f"script{turn}")
            made.mkdir()
            began = now()
            clips = plain_script(corpus, made)
            script, began = now() - began, now()
            ours(corpus, Path(place, f"ours{turn}"))
            command = now() - began
            for name, (clock, cpu) in (("script", script), ("ours", command)):
                print(f"{name}: {clips} clips in {clock:.1f} s, {cpu:.1f} s of CPU")
            print(f"  {script[0] / command[0]:.1f} × by wall clock, {script[1] / command[1]:.1f} × by CPU time")


def now() -> np.ndarray:
    """Wall-clock seconds, and CPU seconds of this process and of its child processes that have ended."""
    times = os.times()
    return np.array([time.perf_counter(), times.user + times.system + times.children_user + times.children_system])


if __name__ == "__main__":
    main()
