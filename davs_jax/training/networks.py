"""A stage's networks as a system's forward and losses apply them, and how they join, split and select batches."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from davs_jax.errors import ConfigError
from davs_jax.training.stage import Stage

Array = jax.Array
Batch = dict[str, Array]
Tree = dict[str, Any]  # params, gradients, batch statistics by network; outputs by name


class Networks:
    """Applies a stage's networks by name, and carries batch statistics and the dropout key from call to call.

    Args:
      training: networks that run in training mode; all others use their running statistics.
    """

    def __init__(self, stage: Stage, params: dict, batch_stats: dict, training: tuple[str, ...], key: Array):
        self.stage, self.params, self.training, self.key = stage, params, training, key
        self.batch_stats = dict(batch_stats)

    def __call__(self, name: str, *inputs, method: str | None = None, sown: str = "", train: bool | None = None) -> Any:
        """Applies one network once, or a method of it; with `sown` returns also what it sows under that name.

        `train` overrides `training`: a frozen network can normalise by the batch's statistics, and keeps its own.

        Raises:
          ConfigError: the stage has no such network.
        """
        if name not in self.stage.modules:
            raise ConfigError(f"the stage has no network {name!r}", f"it has {', '.join(self.stage.modules)}")
        train = name in self.training if train is None else train
        self.key, dropout = jax.random.split(self.key)
        variables = {"params": self.params[name], "batch_stats": self.batch_stats[name]}
        module, remat = self.stage.modules[name], self.stage.remat[name]
        apply = functools.partial(
            module.apply,
            train=train,
            rngs={"dropout": dropout},
            mutable=["batch_stats"] * train + ["intermediates"] * bool(sown),
            method=method,
        )
        outputs, updates = remat(apply)(variables, *inputs)
        if name in self.training:
            self.batch_stats[name] = updates.get("batch_stats", self.batch_stats[name])
        return (outputs, updates["intermediates"][sown][0]) if sown else outputs

    def each(self, name: str, calls: list[tuple], sown: str = "") -> list:
        """Several calls of one network: as one batch, or (`bn_grouping='official'`) one after the other."""
        if self.stage.official_grouping:
            return [self(name, *inputs, sown=sown) for inputs in calls]
        sizes = [len(jax.tree.leaves(inputs)[0]) for inputs in calls]
        outputs = self(name, *jax.tree.map(lambda *parts: join(parts), *calls), sown=sown)
        leaves, structure = jax.tree.flatten(outputs)
        return [structure.unflatten(parts) for parts in zip(*(split(leaf, sizes) for leaf in leaves), strict=True)]


def join(parts: Sequence[Array]) -> Array:
    """Joins batches `[N, …]` into one, the rows of each spread evenly over the whole.

    Where every device holds an equal share of each part's rows, it then holds the same share of the whole, and nothing
    moves between devices; concatenated parts would have to be resharded.
    """
    groups = math.gcd(*map(len, parts))
    return jnp.concatenate([part.reshape(groups, -1, *part.shape[1:]) for part in parts], 1).reshape(
        -1, *parts[0].shape[1:]
    )


def split(joined: Array, sizes: Sequence[int]) -> list[Array]:
    """The inverse of `join`, for parts of these sizes."""
    groups = math.gcd(*sizes)
    ends = np.cumsum(sizes) // groups
    parts = jnp.split(joined.reshape(groups, -1, *joined.shape[1:]), ends[:-1], 1)
    return [part.reshape(-1, *joined.shape[1:]) for part in parts]


def images(frames: Array) -> Array:
    """uint8 → float32 in 0…1 (float64 where JAX has it enabled)."""
    return frames.astype(float) / 255


def select(x: Array, start: Array, length: int) -> Array:
    """`length` consecutive frames of `[B, T, …]`, from each clip's own start `[B]`."""
    return jax.vmap(lambda clip, first: jax.lax.dynamic_slice_in_dim(clip, first, length))(x, start)
