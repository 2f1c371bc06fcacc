"""Where a CPU's training step is slower than PyTorch's, layer by layer.

    python tests/benchmarks/layers_torch.py [--clips 2] [--width 0.5] [--least 0.02]

Takes every convolution of the published person encoder, visual encoder and decoder at 256 px, with as many images as a
joint step reads for these clips, and measures it in JAX and in PyTorch (channels-last): forward, both gradients, and
the batch norm and leaky ReLU that follow most of them, forward and backward. Milliseconds of one call, the best of
three; calls are how often the layer occurs. Layers that take less than `--least` of the whole are added up.
"""

import argparse
import collections
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).parents[2]))

from configs import common
from davs_jax import models
from davs_jax.models.batch_norm import normalise
from davs_jax.models.convolution import convolve

IMAGES = {"person_encoder": 21, "visual_encoder": 13, "decoder": 12}  # of a clip in a joint step
PARTS = ("forward", "gradients", "norm and ReLU")


class Layer(NamedTuple):
    """A convolution: shapes `[N, H, W, C]` and `[h, w, C, D]`."""

    x: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]

    @property
    def of_images(self) -> bool:
        """Whether it reads images, whose gradient nobody needs."""
        return self.x[-1] == 3

    def __str__(self) -> str:
        (n, height, width, channels), (h, w, _, features) = self.x, self.kernel
        return f"{n} × {height}×{width}×{channels} → {features}, {h}×{w}" + (" /2" if self.strides == (2, 2) else "")


def layers(jaxpr) -> Iterator[Layer]:
    """The convolutions of a traced function; of branches for platforms, those of the default."""
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "conv_general_dilated":
            x, kernel = (variable.aval.shape for variable in equation.invars)
            yield Layer(x, kernel, params["window_strides"], tuple(params["padding"]))
        inner = [params["branches"][-1]] if name == "cond" else params.values()
        for jaxpr in (getattr(value, "jaxpr", value) for value in inner):
            if hasattr(jaxpr, "eqns"):
                yield from layers(jaxpr)


def all_layers(clips: int, width: float) -> collections.Counter[Layer]:
    """The convolutions of the three networks, and how often each occurs."""
    model = common.get_config().model
    model.width = width
    found: collections.Counter[Layer] = collections.Counter()
    for name, images in IMAGES.items():
        module, inputs = models.build(model)[name], models.example_inputs(model, images * clips)[name]
        variables = jax.eval_shape(lambda *x, m=module: m.init(jax.random.key(0), *x, train=False), *inputs)
        traced = jax.make_jaxpr(lambda v, *x, m=module: m.apply(v, *x, train=False))(variables, *inputs)
        found.update(layers(traced.jaxpr))
    return found


def milliseconds(call: Callable) -> float:
    """The best of three calls, after one that is not counted."""
    call()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return 1000 * min(times)


def in_jax(layer: Layer, x: np.ndarray, kernel: np.ndarray) -> list[float]:
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)

    def forward(x, kernel):
        return convolve(x, kernel, layer.strides, layer.padding)

    def norm(y, gradient):
        zero, one = jnp.zeros(y.shape[-1]), jnp.ones(y.shape[-1])
        return jax.vjp(lambda y: jax.nn.leaky_relu(normalise(y, one, zero, zero, 1e-5)[0], 0.2), y)[1](gradient)

    y = jax.jit(forward)(x, kernel)
    gradients = jax.jit(lambda x, kernel, y: jax.vjp(forward, x, kernel)[1](y)[layer.of_images :])
    calls = (jax.jit(forward), (x, kernel)), (gradients, (x, kernel, y)), (jax.jit(norm), (y, y))
    return [milliseconds(lambda f=f, a=a: jax.block_until_ready(f(*a))) for f, a in calls]


def in_torch(layer: Layer, x: np.ndarray, kernel: np.ndarray) -> list[float]:
    (top, bottom), (left, right) = layer.padding
    if (top, left) != (bottom, right):  # as PyTorch users pad by more on one side
        x, top, left = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0))), 0, 0
    x = torch.from_numpy(np.ascontiguousarray(x)).permute(0, 3, 1, 2).requires_grad_()
    kernel = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy()).to(memory_format=torch.channels_last)
    kernel.requires_grad_()
    y = F.conv2d(x, kernel, stride=layer.strides, padding=(top, left))
    given, free = y.detach().clone(), y.detach().clone().requires_grad_()
    one, zero = (torch.full((y.shape[1],), value, requires_grad=True) for value in (1.0, 0.0))

    def norm():
        done = F.leaky_relu(F.batch_norm(free, None, None, one, zero, training=True), 0.2)
        return torch.autograd.grad(done, free, given)

    with torch.no_grad():
        forward = milliseconds(lambda: F.conv2d(x, kernel, stride=layer.strides, padding=(top, left)))
    gradients = milliseconds(lambda: torch.autograd.grad(y, (x, kernel)[layer.of_images :], given, retain_graph=True))
    return [forward, gradients, milliseconds(norm)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--width", type=float, default=0.5, help="default: %(default)s")
    parser.add_argument("--least", type=float, default=0.02, help="share of the whole; default: %(default)s")
    args = parser.parse_args()
    rng, rows = np.random.default_rng(0), []
    for layer, calls in all_layers(args.clips, args.width).items():
        x = rng.normal(size=layer.x).astype(np.float32)
        kernel = rng.normal(size=layer.kernel).astype(np.float32) / math.sqrt(math.prod(layer.kernel[:3]))
        rows.append((str(layer), calls, in_jax(layer, x, kernel), in_torch(layer, x, kernel)))
    whole = sum(calls * sum(ours) for _, calls, ours, _ in rows)
    few = [row for row in rows if row[1] * sum(row[2]) < args.least * whole]
    rows = sorted((row for row in rows if row not in few), key=lambda row: -row[1] * sum(row[2]))

    def together(rows: list) -> list[np.ndarray]:
        """Milliseconds of all calls, in JAX and in PyTorch."""
        return [sum((row[1] * np.array(row[side]) for row in rows), np.zeros(len(PARTS))) for side in (2, 3)]

    everything = rows + few
    rows += [(f"{len(few)} others, all calls", 1, *together(few)), ("all, all calls", 1, *together(everything))]
    print(f"{'layer':<38}{'calls':>6}" + "".join(f"{part + ': JAX':>20}{'PyTorch':>9}" for part in PARTS))
    for name, calls, ours, theirs in rows:
        print(f"{name:<38}{calls:>6}" + "".join(f"{a:>20.1f}{b:>9.1f}" for a, b in zip(ours, theirs, strict=True)))


if __name__ == "__main__":
    main()
