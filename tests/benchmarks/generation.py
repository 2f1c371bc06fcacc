"""How fast faces are generated at 256 px and width 1, beside the same networks run in PyTorch the official way.

    python tests/benchmarks/generation.py [--frames 16] [--rounds 3]

Needs PyTorch. Random weights, exported to the official layout; both sides must draw the same pictures. Prints frames
per second (the best round; the sides take turns) of

* official: frame by frame, batch 1, the person encoder run anew for every frame, as the released demo does;
* official, person cached: the same with the person encoded once;
* ours: in the batches that generation takes on this machine, the person encoded once;

then where the time of a whole film goes, and seconds from the start of a process to its first frame, with a cold and
with a warm compilation cache.
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
import torch
import torch.nn.functional as F
from scipy.io import wavfile

sys.path.insert(0, str(Path(__file__).parents[1]))

import talking_files
from configs import common
from davs_jax.generation.drivers import Speech, read_speech
from davs_jax.generation.film import write_film
from davs_jax.import_official import export
from davs_jax.inference import Davs
from davs_jax.media.photo import Photo
from davs_jax.weights import save_weights
from tiny_model import random_weights

NETWORKS = {"ID_encoder": "person_encoder", "mfcc_encoder": "audio_encoder", "Decoder": "decoder"}


class Official:
    """The three networks of sound-driven generation in PyTorch, evaluation mode, from official state dicts."""

    def __init__(self, state_dicts: dict[str, dict[str, np.ndarray]]):
        self._w = {
            f"{network}.{key}": torch.from_numpy(np.ascontiguousarray(value))
            for network, tensors in state_dicts.items()
            for key, value in tensors.items()
        }

    def _conv(self, x: torch.Tensor, name: str, stride=1, padding=0, transposed: bool = False) -> torch.Tensor:
        call = F.conv_transpose2d if transposed else F.conv2d
        return call(x, self._w[f"{name}.weight"], self._w.get(f"{name}.bias"), stride, padding)

    def _norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, scale, bias = (self._w[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, scale, bias)

    def person(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """images [N, 3, 256, 256] → pid [N, 256] and the map of stride 8."""

        def block(x, number, kernel=3, stride=1):
            name = f"ID_encoder.block{number}.conv{number:02d}"
            sides = (self._norm(self._conv(x, f"{name}_{s}", stride, kernel // 2), f"{name}_{s}_bn") for s in "ab")
            return torch.maximum(*sides)

        x, skip = block(x, 1, 7, 2), None
        for stage, count in ((1, 4), (2, 6), (3, 4)):
            x = F.max_pool2d(x, 2)
            for i in range(1, count + 1):
                x = block(x, 10 * stage + i)
            skip = x if stage == 2 else skip
        x = block(block(F.max_pool2d(x, 2), 41, 5), 42, 5)
        return x.mean((2, 3)), skip

    def word(self, mfcc: torch.Tensor) -> torch.Tensor:
        """windows [N, 20, 12] → wid [N, 256]."""

        def layer(x, name, stride=1, padding=0):
            x = self._conv(x, f"mfcc_encoder.{name}", stride, padding)
            return F.leaky_relu(self._norm(x, f"mfcc_encoder.{name.replace('conv', 'bn')}"), 0.2)

        x = mfcc[:, None]
        grid = layer(layer(layer(x, "model1.conv1", (3, 2), (1, 2)), "model1.conv2", 2, 1), "model1.conv3")
        grid = self._conv(grid, "mfcc_encoder.model1.conv4")
        time = layer(layer(x, "model2.conv1")[:, :, ::3], "model2.conv2", padding=(1, 0))[:, :, ::2]
        time = self._conv(time, "mfcc_encoder.model2.conv3")
        both = torch.cat([grid, time], 1).flatten(1)
        return F.linear(both, self._w["mfcc_encoder.fc.weight"], self._w["mfcc_encoder.fc.bias"])

    def decode(self, pid: torch.Tensor, wid: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """→ frames [N, 3, 256, 256] in 0…1."""

        def layer(x, name, padding=1, transposed=False):
            x = self._conv(x, f"Decoder.{name}", 1, padding, transposed)
            return F.relu(self._norm(x, f"Decoder.{name.replace('_new', '')}_bn"))

        x = layer(torch.cat([pid, wid], 1)[..., None, None], "deconv1_1_new", 0, True)
        for number, count in enumerate((2, 3, 4, 4, 3, 2), start=1):
            x = torch.cat([skip, x], 1) if number == 4 else x
            for i in range(count):
                x = layer(x, f"convblock{number}.conv{number}_{i}")
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        x = self._conv(layer(x, "conv7_1", 1, True), "Decoder.conv7_2", 1, 1, True)
        return (torch.tanh(x) + 1) / 2


def frame_by_frame(net: Official, photo: np.ndarray, windows: np.ndarray, cached: bool) -> np.ndarray:
    """The official loop: batch 1 → frames uint8 [N, S, S, 3]."""
    picture = torch.from_numpy(photo.astype(np.float32) / 255).permute(2, 0, 1)[None]
    frames = []
    with torch.inference_mode():
        person = net.person(picture) if cached else None
        for window in torch.from_numpy(windows):
            pid, skip = person or net.person(picture)
            frame = net.decode(pid, net.word(window[None]), skip)[0]
            frames.append((frame * 255).round().byte().permute(1, 2, 0).numpy())
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    args = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    config = common.get_config("joint")
    config.model.update({"num_words": 10, "num_identities": 10})
    params, batch_stats = random_weights(config)
    kept = list(NETWORKS.values())
    model = Davs.on_this_host(config, params, batch_stats)
    net = Official(export({n: params[n] for n in kept}, {n: batch_stats[n] for n in kept}))
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (256, 256, 3), np.uint8)
    speech = Speech(talking_files.sound(args.frames / 25))
    windows = np.concatenate(list(speech.inputs(256)))

    def ours() -> np.ndarray:
        return model.decode(model.encode_person(photo), model.wid_from_audio(windows))

    sides = {
        "official": lambda: frame_by_frame(net, photo, windows, cached=False),
        "official, person cached": lambda: frame_by_frame(net, photo, windows, cached=True),
        "ours": ours,
    }
    drawn = {name: run().astype(int) for name, run in sides.items()}  # which compiles, too
    apart = max(np.abs(frames - drawn["ours"]).max() for frames in drawn.values())
    print(f"{args.frames} frames, batch {model.batch}, {torch.get_num_threads()} threads, {jax.default_backend()}")
    print(f"the sides' pictures differ by at most {apart} of 255")
    seconds = fastest(sides, args.rounds)
    for name, spent in seconds.items():
        print(f"{name:<25}{args.frames / spent:>7.2f} frames/s; ours is {spent / seconds['ours']:.2f} times as fast")
    with tempfile.TemporaryDirectory() as folder:
        whole = Photo(np.full((720, 720, 3), 90, np.uint8), np.array(talking_files.POINTS) * 2.0, photo)
        sound = Path(folder, "speech.wav")
        wavfile.write(sound, 44_100, talking_files.sound(args.frames / 25, 44_100))
        began = time.perf_counter()
        made = write_film(model, whole, read_speech(sound), Path(folder, "out.mp4"))
        print(f"a film of 720 × 720 pixels: {made.frames / (time.perf_counter() - began):.2f} frames/s; {made.stages}")
        save_weights(f"{folder}/weights", config, params, batch_stats)
        for state in ("cold", "warm"):
            print(f"first frame, compilation cache {state}: {first_frame(f'{folder}/weights', f'{folder}/xla'):.1f} s")


if __name__ == "__main__":
    main()
