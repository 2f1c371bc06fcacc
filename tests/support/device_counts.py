"""Run by test_scale.py: the same global batch gives the same losses, statistics and gradients on any devices.

    tests/support/device_counts.py [COUNTS]                 numbers of devices of a process, default 2,4,8, against one;
                                                            "" is none
    tests/support/device_counts.py process ADDRESS I SAVED  process I of two with two devices each, against one device

The first command ends by running the second. With four devices or more, parameters are sharded over some of them. SGD
replaces Adam, under which the rounding noise of a zero gradient becomes a full step; its momentum after one step is the
gradient.
"""

import dataclasses
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import quick_compilation

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_ENABLE_X64"] = "1"
os.environ["XLA_FLAGS"] = (
    f"{quick_compilation.FLAGS} --xla_force_host_platform_device_count={2 if sys.argv[1:2] == ['process'] else 8}"
)

import jax
import numpy as np
import optax

from configs.common import NETWORKS
from davs_jax.checkpoint.export import leaves
from davs_jax.parallel import sharding
from davs_jax.training import step
from davs_jax.training.stage import Stage
from support.steps import random_batch, random_state, tiny


def result(config, devices, fsdp: int) -> dict[str, np.ndarray]:
    """The state and the metrics after one step on these devices, by name."""
    config.mesh.fsdp = fsdp
    mesh = sharding.make_mesh(config.mesh, devices)
    layout = sharding.batch_sharding(mesh)
    batch = {
        name: jax.make_array_from_callback(value.shape, layout, lambda index, value=value: value[index])
        for name, value in random_batch(config).items()
    }
    sgd = dict.fromkeys(("generator", "discriminator"), optax.sgd(1e-3, momentum=0.9))
    stage = dataclasses.replace(Stage.from_config(config), optimizers=sgd)
    after, metrics = step.make_train_step(stage, mesh)(random_state(stage, mesh), batch)
    shared = [x for x in jax.tree.leaves((after.params, after.opt, after.ema)) if not x.is_fully_replicated]
    assert bool(shared) == (fsdp > 1), f"{len(shared)} arrays are divided over {fsdp} devices"
    assert all(x.sharding.shard_shape(x.shape) != x.shape and len(x.sharding.device_set) == mesh.size for x in shared)
    whole = jax.jit(lambda tree: tree, out_shardings=sharding.replicated(mesh))((after, metrics))
    return {name: np.asarray(leaf.addressable_data(0)) for name, leaf in leaves(whole).items()}


def compare(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], what: str) -> None:
    """Relative to the largest number of the same network and kind: the gradient of a bias before a norm is rounding."""
    assert found.keys() == expected.keys()
    largest: dict[str, float] = {}
    for name, value in expected.items():
        largest[kind(name)] = max(largest.get(kind(name), 0.0), float(np.abs(value).max()))
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name], value, rtol=1e-6, atol=1e-6 * largest[kind(name)], err_msg=f"{what}: {name}"
        )
    if jax.process_index() == 0:
        print(what, "as 1")


def kind(name: str) -> str:
    """A leaf's name up to its network; a metric's whole name."""
    parts = name.split("/")
    return "/".join(parts[: 1 + next((i for i, part in enumerate(parts) if part in NETWORKS), len(parts))])


def main() -> None:
    config = tiny("word")
    config.optim.ema_decay = 0.9
    config.model.word_frames = 3  # a chunk of one frame for each third
    config.model.dtype = "float64"  # only parameters and what is added to them stay float32
    if sys.argv[1:2] == ["process"]:
        address, process, saved = sys.argv[2:]
        jax.distributed.initialize(address, 2, int(process))
        with np.load(saved) as expected:
            compare(result(config, jax.devices(), fsdp=2), dict(expected), "2 processes with 2 devices")
        return
    one = result(config, jax.devices()[:1], fsdp=1)
    for devices in map(int, filter(None, (sys.argv[1] if sys.argv[1:] else "2,4,8").split(","))):
        fsdp = devices // 2
        compare(result(config, jax.devices()[:devices], fsdp), one, f"{devices} devices, {fsdp} shares,")
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        address, saved = f"127.0.0.1:{free.getsockname()[1]}", f"{folder}/one.npz"
        free.close()
        np.savez(saved, **one)
        processes = [subprocess.Popen([sys.executable, __file__, "process", address, str(i), saved]) for i in range(2)]
        codes = [process.wait() for process in processes]
    if any(codes):
        sys.exit(f"exit status {codes}")


if __name__ == "__main__":
    main()
