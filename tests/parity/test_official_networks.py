"""Our networks with official weights give the official networks' outputs (256 px, width 1, running statistics)."""

import jax
import numpy as np
import official
import pytest
import seeded

from configs import common
from davs_jax import models
from davs_jax.import_official import convert

EXPECTED = official.NUMBERS["evaluation"]


@pytest.fixture(scope="module")
def state_dicts():
    return official.weights(convert.NETWORKS)


@pytest.fixture(scope="module")
def variables(state_dicts):
    return convert.convert(state_dicts)


@pytest.fixture(scope="module")
def outputs(variables):
    """Every network's outputs for the first clip, by the names of the recorded ones."""
    params, batch_stats = variables
    modules, clip = models.build(common.get_config().model), {k: v[0] for k, v in seeded.clips().items()}

    def run(name: str, *inputs):
        weights = {"params": params[name], "batch_stats": batch_stats[name]}
        module = modules[name]
        apply = jax.jit(
            lambda *x: module.apply(weights, *x, train=False), compiler_options={"xla_backend_optimization_level": 0}
        )
        return apply(*inputs)

    frames = clip["frames"].astype(np.float32) / 255
    twelve = slice(seeded.START, seeded.START + 24, 2)
    twenty = slice(seeded.ADVERSARY_START, seeded.ADVERSARY_START + 20)
    photo, six = frames[seeded.IDENTITY][None], slice(seeded.GENERATE_START, seeded.GENERATE_START + 6)
    mfcc = clip["mfcc"][twelve]

    pid, maps = run("person_encoder", photo)
    found = {"pid": pid, **{f"maps.{stride}": maps[stride] for stride in (32, 16, 8, 4)}}
    for side, wid in (("video", run("visual_encoder", frames[twelve])), ("audio", run("audio_encoder", mfcc))):
        found[f"wid_{side}"] = wid[None]
        found[f"frame_{side}"] = run("decoder", pid, wid[:1], maps, photo)
        found[f"word_{side}"] = run("word_classifier", wid[None])
        found[f"modality_{side}"] = jax.nn.sigmoid(run("modality_discriminator", wid))[None]
    found["word_adversary"] = run("word_adversary", run("person_encoder", frames[twenty])[1][4][None])
    patch, match = run("sequence_discriminator", frames[twelve][six][None], mfcc[six][None])
    found |= {"sequence_patch": jax.nn.sigmoid(patch), "sequence_match": jax.nn.sigmoid(match)}
    patch, match = run("frame_discriminator", frames[twelve][six][:, None], mfcc[six][:, None])
    return found | {"frame_patch": jax.nn.sigmoid(patch), "frame_match": jax.nn.sigmoid(match)}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_official_networks_output_is_ours(outputs, name):
    official.assert_output(outputs[name.removeprefix("evaluation ")], name, EXPECTED[name])


def test_every_output_is_compared(outputs):
    assert {f"evaluation {name}" for name in outputs} == set(EXPECTED)


def test_export_is_the_exact_inverse_of_convert(state_dicts, variables):
    unused = set(convert.unused(state_dicts))
    exported = convert.export(*variables)
    assert list(exported) == list(state_dicts)
    for network, tensors in state_dicts.items():
        used = {key: tensor for key, tensor in tensors.items() if f"{network}.{key}" not in unused}
        assert exported[network].keys() == used.keys()
        for key, tensor in used.items():
            np.testing.assert_array_equal(exported[network][key], tensor)
