import jax
import jax.numpy as jnp
import pytest

from davs_jax.parallel import compilation
from davs_jax.parallel.compilation import compile_step, expected


@pytest.fixture(autouse=True)
def cache(xla_cache):
    return xla_cache


@pytest.fixture
def lines():
    return []


def compiled(lines):
    step = jax.jit(lambda a, b: jnp.sin(a) @ b)
    return compile_step(step, (jnp.ones((4, 4)), jnp.ones((4, 4))), lines.append)


def test_the_first_compilation_is_estimated_from_another_machine_and_says_so(lines, cache):
    program, cached = compiled(lines)
    assert not cached
    assert lines[0].startswith("compiling the step: about 0 s on two CPU cores (none timed on this machine yet)")
    assert lines[0].endswith(f"later starts read it from {cache} …")
    assert lines[1].startswith("compiled in ") and "cache" not in lines[1]
    assert program(jnp.zeros((4, 4)), jnp.ones((4, 4))).shape == (4, 4)


def test_a_second_process_is_told_that_the_step_came_from_the_cache(lines):
    compiled(lines)
    jax.clear_caches()  # as in a new process, only the folder remains
    _, cached = compiled(lines)
    assert cached
    assert "usually about 0 s (1 timed on this machine)" in lines[2]
    assert lines[3].endswith(", from the cache")


def test_estimates_are_medians_in_proportion_to_the_arrays_of_this_kind_of_device(cache):
    kind = jax.devices()[0].device_kind
    notes = [(kind, 100, 10, "false"), (kind, 100, 20, "false"), (kind, 10, 9, "false"), (kind, 100, 2, "true")]
    notes.append(("another", 1, 1_000, "false"))
    lines = [f'{{"device": "{d}", "arrays": {a}, "seconds": {s}, "cached": {c}}}\n' for d, a, s, c in notes]
    (cache / compilation.NOTES).write_text("".join(lines) + '{"device": "cut of')
    assert expected(1_000) == f"usually about 3 min (3 timed on this machine); about 20 s when read from {cache}"


def test_a_cache_that_cannot_be_written_does_not_stop_the_run(lines, cache):
    cache.parent.joinpath("file").write_text("")
    jax.config.update("jax_compilation_cache_dir", str(cache.parent / "file" / "xla"))
    compilation._note(10, 1.0, False)
    assert compilation._notes() == []
