import gzip
import json

import jax
import jax.numpy as jnp
from etils import epath
from ml_collections import ConfigDict

from davs_jax.monitor.profiles import Profile


def run(folder, steps, after, last, first=0):
    profile, lines = Profile(ConfigDict({"profile": {"steps": steps, "after": after}}), epath.Path(folder), first), []
    work = jax.jit(lambda x: x @ x)
    for number in range(first + 1, last + 1):
        profile.before(number)
        lines.append(profile.after(number, work(jnp.ones((8, 8)))))
    profile.close()
    return [line for line in lines if line]


def test_the_steps_asked_for_are_captured_for_tensorboard_and_perfetto(tmp_path):
    (line,) = run(tmp_path, steps=2, after=1, last=13, first=10)
    assert line.startswith("profile of steps 12 to 13")
    assert list(tmp_path.glob("profile/plugins/profile/*/*.xplane.pb"))
    (trace,) = tmp_path.glob("profile/plugins/profile/*/perfetto_trace.json.gz")
    assert json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]


def test_a_run_that_ends_within_its_profile_still_writes_it(tmp_path):
    assert run(tmp_path, steps=5, after=0, last=2) == []
    assert list(tmp_path.glob("profile/plugins/profile/*/*.xplane.pb"))


def test_by_default_nothing_is_captured(tmp_path):
    assert run(tmp_path, steps=0, after=0, last=2) == []
    assert not (tmp_path / "profile").exists()
