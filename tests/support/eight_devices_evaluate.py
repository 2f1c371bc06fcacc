"""Run by test_evaluation.py: a split's figures on 1 and on 8 devices, of one process or of two, are the same to the
last digit printed; and so are a video's frames on one and on all devices of a process.

    python tests/support/eight_devices_evaluate.py CLIPS

CLIPS is a folder of shards, such as `tiny_data.write_shards` makes. The processes of a job are told of it as
`davs_jax.parallel.processes` says.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import quick_compilation

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    f"{quick_compilation.FLAGS} "
    f"--xla_force_host_platform_device_count={8 // int(os.environ.get('JAX_NUM_PROCESSES', '1'))}"
)

import jax
import numpy as np

from configs import common
from davs_jax.api import Model
from davs_jax.data.pipeline import eval_batches
from davs_jax.data.sources import open_clips
from davs_jax.evaluate import disentanglement, generated, mouth_opening, probes, recognition, swap
from davs_jax.evaluate.report.record import encoded
from davs_jax.inference import Davs
from davs_jax.parallel import processes, sharding
from support import talking_files
from support.tiny_data import tiny
from support.tiny_model import random_weights


def printed(figures):
    """Rounded as a report rounds at the finest."""
    if isinstance(figures, dict):
        return {key: printed(value) for key, value in figures.items()}
    return round(figures, 3) if isinstance(figures, float) else figures


GENERATED = 3  # clips: enough for figures of images
swap.PAIRS = 6
probes.FOLDS = 4  # and as many clips of each word


def figures(model: Davs, folder: str) -> dict:
    source = open_clips(folder, "train")
    vectors = recognition.encode(model, eval_batches(source, 5), persons=True, every_frame=True)
    read = recognition.logits(model, vectors)
    estimator = mouth_opening.fit_estimator(eval_batches(source, 5))
    made = generated.measure(
        model,
        None,
        source,
        [next(eval_batches(source, GENERATED))],
        vectors.word[:GENERATED],
        estimator,
        scored_clips=0,
    )
    found, skipped = disentanglement.probes(vectors, seed=0)
    assert not skipped, skipped
    sections = {
        "clips": vectors.index.tolist(),
        "accuracy": recognition.accuracies(read, vectors, seed=0),
        "retrieval": recognition.retrieval(vectors, model.mesh),
        "sync": recognition.synchronisation(vectors, seed=0),
        "probes": found,
        "swap": swap.swap_test(model, source, vectors, seed=0),
        "likeness": generated.likeness_table(made, None, seed=0),
        "activity": generated.activity_table(made, None, seed=0),
        "motion": generated.motion_table(made, vectors.mouth_opening[:GENERATED], None, seed=0),
    }
    return encoded(sections)


def talking_video(model: Davs) -> np.ndarray:
    """35 frames, more than one call's on four devices, uint8 `[35, S, S, 3]`."""
    frames = Model(model).talk(
        talking_files.portrait(), talking_files.sound(1.4), points=talking_files.POINTS, crop=True
    )
    return np.stack(list(frames))


def main() -> None:
    processes.initialize()
    folder = sys.argv[1]
    config = tiny(common.get_config("joint"), folder, "")
    config.audio_gain = 30.0  # fresh weights hardly move a mouth otherwise
    alone = Davs(config, *random_weights(config))
    one = figures(alone, folder)
    mesh = sharding.make_mesh(config.mesh)
    weights = jax.device_put(random_weights(config), sharding.replicated(mesh))
    eight = figures(Davs(config, *weights, mesh=mesh), folder)
    assert mesh.size == 8
    assert one["clips"] == eight["clips"] == list(range(16))
    assert printed(one) == printed(eight), (printed(one), printed(eight))
    here = Davs.on("host", config, *random_weights(config))
    assert here.mesh.size == jax.local_device_count() > 1
    shown, expected = talking_video(here).astype(int), talking_video(alone).astype(int)
    assert shown.shape == (35, 64, 64, 3) and expected.std(0).max() > 1, "the video stands still"
    np.testing.assert_array_equal(shown, expected)
    print("8 devices print what 1 does")


if __name__ == "__main__":
    main()
