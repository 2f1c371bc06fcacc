"""The mesh, and the rules that lay batches and parameters over it."""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXES = ("data", "fsdp")
MIN_SHARDED_SIZE = 2**16  # elements; smaller arrays are replicated: dividing them costs more than it saves


def make_mesh(mesh_config, devices=None) -> Mesh:
    """The devices of this job as a mesh with axes `data` and `fsdp`.

    Args:
      mesh_config: `config.mesh`; one of its two sizes may be −1, which takes all devices that are left.
      devices: default all devices of the job.

    Raises:
      ValueError: the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [mesh_config.data, mesh_config.fsdp]
    if sizes.count(-1) == 1:
        other = sizes[1 - sizes.index(-1)]
        sizes[sizes.index(-1)] = len(devices) // max(other, 1)
    if np.prod(sizes) != len(devices) or min(sizes) < 1:
        raise ValueError(
            f"config.mesh is data={mesh_config.data}, fsdp={mesh_config.fsdp}, but there are {len(devices)} devices; "
            "their product must equal that (-1 fills one of them)"
        )
    # Auto: the compiler propagates shardings; newer JAX defaults to explicit axes.
    return jax.make_mesh(sizes, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """First axis over all devices."""
    return NamedSharding(mesh, PartitionSpec(AXES))


def parameter_sharding(mesh: Mesh, shape: tuple[int, ...]) -> NamedSharding:
    """The one rule for parameters, optimizer state and averages: large arrays are divided over `fsdp`
    along their largest axis that divides evenly; everything else is replicated."""
    shards = mesh.shape["fsdp"]
    divisible = [axis for axis, size in enumerate(shape) if size % shards == 0]
    if shards == 1 or not divisible or np.prod(shape) < MIN_SHARDED_SIZE:
        return replicated(mesh)
    axis = max(divisible, key=lambda a: shape[a])
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, "fsdp"))


def gathered(tree, mesh: Mesh | None):
    """Parameters whole on every device, as the networks use them: one all-gather over `fsdp` a step.

    Said here, because the compiler, left alone, may divide a layer's work over `fsdp` instead and move activations.
    """
    return tree if _undivided(mesh) else jax.lax.with_sharding_constraint(tree, replicated(mesh))


def divided(tree, mesh: Mesh | None):
    """Gradients laid out as their parameters are: what is summed over the devices is handed out in shares."""
    if _undivided(mesh):
        return tree
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, parameter_sharding(mesh, x.shape)), tree)


def _undivided(mesh: Mesh | None) -> bool:
    return mesh is None or mesh.shape["fsdp"] == 1
