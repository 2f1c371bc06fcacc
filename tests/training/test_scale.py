"""A step in bfloat16, with accumulation, with rematerialisation, and on several devices."""

import collections
import dataclasses
import math
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import common
from davs_jax import models
from davs_jax.checkpoint.export import leaves
from davs_jax.training.networks import Networks, join, split
from davs_jax.training.stage import REMAT, Stage
from davs_jax.training.step import TrainStep
from support.steps import random_batch, random_state, tiny
from support.tiny_model import random_weights


def word_stage(batch_size: int, **settings):
    config = tiny("word")
    config.data.batch_size = batch_size
    config.model.update(dropout=0.0, word_frames=3)  # a chunk of one frame for each third
    config.update(settings)
    return config


def compiled(config):
    """(first state, compiled step) with SGD, whose momentum after one step is the gradient."""
    sgd = dict.fromkeys(("generator", "discriminator"), optax.sgd(0.1, momentum=0.9))
    stage = dataclasses.replace(Stage.from_config(config), optimizers=sgd)
    first = random_state(stage)
    return first, jax.jit(TrainStep(stage)).lower(first, random_batch(config)).compile()


@pytest.fixture(scope="module")
def four_clips():
    return compiled(word_stage(4))


@pytest.fixture(scope="module")
def in_two_parts():
    return compiled(word_stage(8, accumulate=2))


def close(found, expected, tolerance=1e-4):
    """Compares leaf by leaf. Rounding has the scale of the layer: the gradient of a bias before a norm is only that."""
    found, expected = leaves(found), leaves(expected)
    assert found.keys() == expected.keys()
    scales = collections.defaultdict(float)
    for name, value in expected.items():
        layer = name.rpartition("/")[0]
        scales[layer] = max(scales[layer], float(jnp.abs(value).max()))
    for name, value in expected.items():
        atol = 1e-5 + tolerance * scales[name.rpartition("/")[0]]
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=atol, err_msg=name)


def test_two_equal_parts_step_as_one_of_them_does(four_clips, in_two_parts):
    """Gradients are means, negatives come from one part, and the generator meets the updated discriminators."""
    (first, one), (_, two) = four_clips, in_two_parts
    clips = random_batch(word_stage(4))
    expected, expected_metrics = one(first, clips)
    after, metrics = two(first, {name: np.repeat(value, 2, 0) for name, value in clips.items()})
    moved = (
        expected.params["modality_discriminator"]["logit"]["kernel"]
        - first.params["modality_discriminator"]["logit"]["kernel"]
    )
    assert float(jnp.abs(moved).max()) > 1e-3  # else the order of the players could not be seen
    close(metrics, expected_metrics)
    close((after.params, after.opt, after.step), (expected.params, expected.opt, expected.step))


def test_in_parts_contrastive_losses_and_norms_see_one_part_and_running_statistics_move_with_each(
    four_clips, in_two_parts
):
    (first, one), (_, two) = four_clips, in_two_parts
    batch = random_batch(word_stage(8), seed=1)
    after, metrics = two(first, batch)
    halves = [one(first, {name: value[i::2] for name, value in batch.items()}) for i in range(2)]
    for name in ("loss/contrastive", "loss/word_ce_video", "loss/word_ce_audio", "loss/discriminator/modality"):
        mean = sum(float(figures[name]) for _, figures in halves) / 2
        np.testing.assert_allclose(metrics[name], mean, rtol=1e-4)
    (zeroth, _), (last, _) = halves
    close(
        after.batch_stats,
        jax.tree.map(
            lambda start, a, b: 0.9 * a + (b - 0.9 * start), first.batch_stats, zeroth.batch_stats, last.batch_stats
        ),
    )


def test_in_bfloat16_state_metrics_and_summed_gradients_are_float32(four_clips):
    config = word_stage(4)
    config.model.dtype = "bfloat16"
    first, narrow = compiled(config)
    batch = random_batch(config)
    (after, metrics), (_, expected) = narrow(first, batch), four_clips[1](first, batch)
    assert {leaf.dtype for leaf in jax.tree.leaves((after, metrics))} == {jnp.dtype("float32"), jnp.dtype("int32")}
    for name in ("loss/word_ce_video", "loss/word_ce_audio", "loss/contrastive"):
        np.testing.assert_allclose(metrics[name], expected[name], rtol=0.03)
    assert float(metrics["loss/total"]) != float(expected["loss/total"])
    gradients = leaves({player: after.opt[player][0].trace for player in after.opt})
    rounded = {
        name for name, g in gradients.items() if g.any() and (g == g.astype(jnp.bfloat16).astype(jnp.float32)).all()
    }
    assert not rounded  # summed in bfloat16, they would all be bfloat16 numbers


@pytest.mark.parametrize("name", ["visual_encoder", "decoder"])
def test_remat_policies_store_less_for_the_backward_pass(name, capsys):
    config = tiny()
    params, batch_stats = random_weights(config)
    inputs = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), models.example_inputs(config.model, 2)[name])

    def kept(policy: str) -> int:
        """Numbers stored between forward and backward, besides weights and inputs."""
        stage = dataclasses.replace(Stage.from_config(config), remat={name: REMAT[policy]})

        def apply(own):
            networks = Networks(stage, {name: own}, {name: batch_stats[name]}, (name,), jax.random.key(0))
            return networks(name, *inputs)

        jax.ad_checkpoint.print_saved_residuals(apply, params[name])
        lines = capsys.readouterr().out.splitlines()
        shapes = [re.match(r"f32\[([\d,]+)\] (?!from )", line) for line in lines]
        return sum(math.prod(map(int, shape.group(1).split(","))) for shape in shapes if shape)

    sizes = [kept(policy) for policy in ("none", "activations", "all")]
    assert sizes[0] > 1.5 * sizes[1] > 3 * sizes[2], sizes


def test_recomputation_gives_the_same_gradients():
    config, name = tiny(), "audio_encoder"
    params, batch_stats = random_weights(config)
    mfcc = np.random.default_rng(0).normal(size=(6, 20, 12)).astype(np.float32)

    def gradient(policy: str):
        stage = dataclasses.replace(Stage.from_config(config), remat={name: REMAT[policy]})

        def loss(own):
            networks = Networks(stage, {name: own}, {name: batch_stats[name]}, (name,), jax.random.key(0))
            return jnp.square(networks(name, mfcc)).mean(), networks.batch_stats

        return jax.jit(jax.grad(loss, has_aux=True))(params[name])

    expected = gradient("none")
    for policy in ("activations", "all"):
        close(gradient(policy), expected, 1e-5)


def test_every_network_has_a_remat_policy():
    config = common.get_config()
    assert set(config.remat) == set(models.build(config.model))


@pytest.mark.parametrize("sizes", [(8, 8), (12, 2), (96, 8, 4), (3, 5)])
def test_parts_of_a_joined_batch_come_back(sizes):
    parts = [np.random.default_rng(i).normal(size=(size, 2)).astype(np.float32) for i, size in enumerate(sizes)]
    joined = join(parts)
    for part, again in zip(parts, split(joined, sizes), strict=True):
        np.testing.assert_array_equal(part, again)
    groups = math.gcd(*sizes)
    for i, share in enumerate(np.split(np.asarray(joined), groups)):
        own = [part[i * len(part) // groups : (i + 1) * len(part) // groups] for part in parts]
        np.testing.assert_array_equal(share, np.concatenate(own))


@pytest.mark.cluster
@pytest.mark.parametrize("counts", ["", "2,4,8"])
def test_losses_statistics_and_gradients_agree_on_any_devices_and_processes(counts):
    """Run in a process of its own, since a process cannot change how many devices it has."""
    command = [sys.executable, "tests/support/device_counts.py", counts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    said = [line for line in done.stdout.splitlines() if line.endswith("as 1")]  # Gloo says things of its own
    assert said == [
        *(f"{count} devices, {int(count) // 2} shares, as 1" for count in filter(None, counts.split(","))),
        "2 processes with 2 devices as 1",
    ]
