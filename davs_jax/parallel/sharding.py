"""The device mesh, and the rules that shard batches and parameters over it."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from davs_jax.errors import ConfigError

AXES = ("data", "fsdp")
MIN_SHARDED_SIZE = 2**16  # elements; smaller arrays are replicated: sharding them costs more than it saves


def make_mesh(mesh_config, devices=None) -> Mesh:
    """Arranges the devices of this job as a mesh with axes `data` and `fsdp`.

    Args:
      mesh_config: `config.mesh`; one of its two sizes may be −1, which stands for all remaining devices.
      devices: all devices of the job by default.

    Raises:
      ConfigError: the product of the sizes is not the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [mesh_config.data, mesh_config.fsdp]
    if sizes.count(-1) == 1:
        other = sizes[1 - sizes.index(-1)]
        sizes[sizes.index(-1)] = len(devices) // max(other, 1)
    if np.prod(sizes) != len(devices) or min(sizes) < 1:
        raise ConfigError(
            f"config.mesh is data={mesh_config.data}, fsdp={mesh_config.fsdp}, but there are {len(devices)} devices",
            "their product must equal that (-1 fills one of them)",
        )
    # Auto: the compiler propagates shardings. Newer versions of JAX default to explicit axes.
    return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Shards the first axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def parameter_sharding(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """Shards a large array over `fsdp`, along its largest axis that divides evenly; replicates every other array.

    The one rule for parameters, optimizer state and moving averages.
    """
    shards = mesh.shape["fsdp"]
    divisible = [axis for axis, size in enumerate(shape) if size % shards == 0]
    if shards == 1 or not divisible or np.prod(shape) < MIN_SHARDED_SIZE:
        return replicated(mesh)
    axis = max(divisible, key=lambda a: shape[a])
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "fsdp"))


def gathered(tree, mesh: Mesh | None):
    """Replicates parameters on every device for the networks: one all-gather over `fsdp` a step.

    Without this constraint the compiler may divide a layer's work over `fsdp` instead, and move activations.
    """
    return tree if _undivided(mesh) else jax.lax.with_sharding_constraint(tree, replicated(mesh))


def divided(tree, mesh: Mesh | None):
    """Shards gradients as their parameters are, so that the sum over devices becomes a reduce-scatter."""
    if _undivided(mesh):
        return tree
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, parameter_sharding(mesh, x.shape)), tree)


def _undivided(mesh: Mesh | None) -> bool:
    return mesh is None or mesh.shape["fsdp"] == 1
