"""A model with random weights, for tests of what uses one; compiles nothing."""

import functools
import json

import jax
import numpy as np
from ml_collections import ConfigDict

from davs_jax import models
from davs_jax.inference import NETWORKS, Davs


def random_weights(config: ConfigDict) -> tuple[dict, dict]:
    """Params and batch statistics of the generator player's networks, by name."""
    return _random_weights(ConfigDict({"model": config.model}).to_json())


@functools.cache
def _random_weights(config: str) -> tuple[dict, dict]:
    model = ConfigDict(json.loads(config)).model
    networks, inputs, rng = models.build(model), models.example_inputs(model), np.random.default_rng(0)
    variables = {}
    for name in NETWORKS:
        shapes = jax.eval_shape(lambda *x, n=name: networks[n].init(jax.random.key(0), *x, train=False), *inputs[name])
        variables[name] = random_like(shapes, rng)
    return (
        {name: v["params"] for name, v in variables.items()},
        {name: v.get("batch_stats", {}) for name, v in variables.items()},
    )


def random_like(shapes: dict, rng: np.random.Generator) -> dict:
    """Weights under which every network's answer depends on its inputs: no dead units, no saturated images."""

    def random_leaf(path, leaf):
        layer, name = path[-2].key, path[-1].key
        if name in ("var", "scale"):
            return np.ones(leaf.shape, np.float32)
        if name == "bias":
            return np.full(leaf.shape, 0.0 if layer == "image" else 0.3, np.float32)
        gain = 0.1 if layer == "image" else 2**0.5
        return (gain * rng.normal(size=leaf.shape) / max(1, np.prod(leaf.shape[:-1])) ** 0.5).astype(np.float32)

    return jax.tree_util.tree_map_with_path(random_leaf, shapes)


def random_model(config: ConfigDict, **options) -> Davs:
    return Davs(config, *random_weights(config), **options)
