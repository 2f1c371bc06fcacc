import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from configs import common
from davs_jax.parallel import executables, sharding
from davs_jax.training import fingerprint, loop, state, step

ROOT = Path(fingerprint.__file__).parents[1]


def test_it_covers_all_code_that_makes_the_step():
    """Else the compiled step, or the plan, of older code would be used."""
    loaded = "[m.__file__ for name, m in sys.modules.items() if name.startswith('davs_jax.')]"
    listed = f"import sys, davs_jax.training.step; print(*{loaded})"
    command = [sys.executable, "-c", listed]
    files = subprocess.run(command, capture_output=True, text=True, cwd=ROOT.parent, check=True).stdout.split()
    assert {Path(file) for file in files} <= {path for pattern in fingerprint.SOURCES for path in ROOT.glob(pattern)}


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [
        ("seed", 1, False),
        ("steps", 7, False),
        ("model.width", 0.5, False),
        ("data.batch_size", 32, False),
        ("loss.l1", 2.0, False),
        ("optim.schedule", "cosine", False),
        ("remat.decoder", "all", False),
        ("data.clips", "elsewhere", True),
        ("log.every", 1, True),
        ("checkpoint.keep", 1, True),
    ],
)
def test_settings_of_the_step_change_it_and_others_do_not(key, value, same):
    config = common.get_config("joint")
    before = fingerprint.of(config)
    config.update_from_flattened_dict({key: value})
    assert (fingerprint.of(config) == before) is same


def test_a_step_that_jaxs_cache_gave_is_not_kept(audio_config, xla_cache):
    """A later version's step is often the same program; written a second time, it could not run on a CPU."""
    job = loop._resolve(audio_config)
    loop._compile(job)
    jax.clear_caches()  # as in a new process, only the folder remains
    loop._compile(job._replace(fingerprint="of a later version"))
    assert len(list((xla_cache / executables.FOLDER).iterdir())) == 1


def test_a_second_start_does_not_trace_its_step(audio_config, xla_cache, monkeypatch, capsys):
    job = loop._resolve(audio_config)
    first = loop._compile(job)
    monkeypatch.setattr(step, "make_train_step", None)
    again = loop._compile(loop._resolve(audio_config))
    assert "the compiled step of an earlier start is read" in capsys.readouterr().out
    layout = sharding.batch_sharding(job.mesh)
    batch = {name: jax.device_put(np.ones(x.shape, x.dtype), layout) for name, x in job.stage.batch.items()}
    ends = [compiled(state.init_state(job.stage, job.mesh), batch) for compiled in (first, again)]
    jax.tree.map(np.testing.assert_array_equal, *ends)
