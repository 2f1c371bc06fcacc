"""How fast faces are generated at 256 px and width 1, beside the same networks run in PyTorch the official way.

    python tests/benchmarks/generation.py [--frames 16] [--rounds 3]

Needs PyTorch. Random weights, exported to the official layout; both sides must generate the same images. Prints frames
per second (the best round; the sides take turns) of

* official: frame by frame, batch 1, the person encoder run for every frame, as in the released demo;
* official, person cached: the same with the person encoded once;
* ours: in the batches that generation uses on this machine, the person encoded once;

then the share of each stage in the time of a whole video, and seconds from the start of a process to its first frame,
with a cold and with a warm compilation cache.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from scipy.io import wavfile

sys.path.insert(0, str(Path(__file__).parents[1]))

from configs import common
from davs_jax.checkpoint.export import save_weights
from davs_jax.generate.drivers import Speech
from davs_jax.generate.read import read_speech
from davs_jax.generate.result import write_result
from davs_jax.import_official.convert import export
from davs_jax.inference import Davs
from davs_jax.media.photo import Photo
from support import talking_files
from support.tiny_model import random_weights

USED = ("person_encoder", "audio_encoder", "decoder")


def frame_by_frame(net, photo: np.ndarray, windows: np.ndarray, cached: bool) -> np.ndarray:
    """The official loop on `official_torch.Networks`: batch 1 → frames uint8 [N, S, S, 3]."""
    import torch

    image = torch.from_numpy(photo.astype(np.float32) / 255).permute(2, 0, 1)[None].to(net.device)
    frames = []
    with torch.inference_mode():
        person = net.person(image) if cached else None
        for window in torch.from_numpy(windows).to(net.device):
            pid, _, skip = person or net.person(image)
            frame = net.decode(pid, net.word_heard(window[None]), skip)[0]
            frames.append((frame * 255).round().byte().permute(1, 2, 0).cpu().numpy())
    return np.stack(frames)


def fastest(sides: dict[str, Callable[[], np.ndarray]], rounds: int) -> dict[str, float]:
    """Seconds of each side's best round; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            began = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - began)
    return {name: min(values) for name, values in times.items()}


def first_frame(weights: str, cache: str) -> float:
    """Seconds from the start of a process to its first frame."""
    code = (
        "import sys, numpy as np, davs_jax\n"
        "model = davs_jax.load(sys.argv[1])\n"
        "photo = np.full((256, 256, 3), 90, np.uint8)\n"
        "next(model.talk(photo, np.zeros(640, np.float32), aligned=True, crop=True))"
    )
    began = time.perf_counter()
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
    subprocess.run([sys.executable, "-c", code, weights], check=True, env=environment)
    return time.perf_counter() - began


def rates(config, frames: int, rounds: int, device: str = "") -> tuple[dict[str, float], int, Davs]:
    """Frames per second of each side; by how many gray levels their images differ at most; and our model.

    Args:
      device: PyTorch's; "" leaves PyTorch out.
    """
    params, batch_stats = random_weights(config)
    model = Davs.on("host", config, params, batch_stats)
    size = config.model.image_size
    photo = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    windows = np.concatenate(list(Speech(talking_files.sound(frames / 25)).inputs(model)))
    sides = {"ours": lambda: model.decode(model.encode_person(photo), model.wid_from_audio(windows))}
    if device:
        from official_torch import Networks

        net = Networks(export({n: params[n] for n in USED}, {n: batch_stats[n] for n in USED}), device=device)
        sides["official"] = lambda: frame_by_frame(net, photo, windows, cached=False)
        sides["official, person cached"] = lambda: frame_by_frame(net, photo, windows, cached=True)
    generated = {name: run().astype(int) for name, run in sides.items()}  # and compiles
    apart = max(np.abs(images - generated["ours"]).max() for images in generated.values())
    seconds = fastest(sides, rounds)
    return {name: frames / spent for name, spent in seconds.items()}, int(apart), model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    args = parser.parse_args()
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    config = common.get_config("joint")
    config.model.update({"num_words": 10, "num_identities": 10})
    found, apart, model = rates(config, args.frames, args.rounds, "cpu")
    print(f"{args.frames} frames, batch {model.batch}, {torch.get_num_threads()} threads, {jax.default_backend()}")
    print(f"the sides' images differ by at most {apart} of 255")
    for name, rate in found.items():
        print(f"{name:<25}{rate:>7.2f} frames/s; ours is {found['ours'] / rate:.2f} times as fast")
    with tempfile.TemporaryDirectory() as folder:
        photo = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
        whole = Photo(np.full((720, 720, 3), 90, np.uint8), np.array(talking_files.POINTS) * 2.0, photo)
        sound = Path(folder, "speech.wav")
        wavfile.write(sound, 44_100, talking_files.sound(args.frames / 25, 44_100))
        began = time.perf_counter()
        made = write_result(model, whole, read_speech(sound), Path(folder, "out.mp4"))
        print(f"a video of 720 × 720 pixels: {made.frames / (time.perf_counter() - began):.2f} frames/s; {made.stages}")
        save_weights(f"{folder}/weights", config, *random_weights(config))
        for state in ("cold", "warm"):
            print(f"first frame, compilation cache {state}: {first_frame(f'{folder}/weights', f'{folder}/xla'):.1f} s")


if __name__ == "__main__":
    main()
