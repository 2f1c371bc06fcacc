"""Compilation of the training step: options, the cache on disk, and how long compilation usually takes."""

import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from davs_jax import user_folders

# Compiler options for the training step, by platform. A pass of libtpu that moves space into the batch aborts
# on a gradient of the joint stage at few clips a chip ("Check failed: std::abs(halo_size - …)").
STEP_OPTIONS = {"tpu": {"xla_tpu_run_space_to_batch": "false", "xla_tpu_run_space_to_batch_on_new_platforms": "false"}}
CACHE = "xla"  # of the user's caches, unless JAX_COMPILATION_CACHE_DIR names another folder
NOTES = "step_times.jsonl"  # in the cache's folder: a line for each compiled step
RECENT = 20  # notes that an estimate uses
# Seconds per array of the step's arguments on two CPU cores: the quickstart's joint stage (docs/results.md).
TWO_CORES = 50 / 1690


def keep_compilations() -> None:
    """Turns on JAX's cache of compiled programs on disk, so that a later process need not compile again."""
    given = jax.config.jax_compilation_cache_dir
    if not given or "://" not in given:  # JAX warns about every program that it cannot write
        folder = user_folders.writable(Path(given)) if given else user_folders.cache(CACHE)
        jax.config.update("jax_compilation_cache_dir", str(folder))
    # By default JAX keeps no program that compiles within a second; many of these run before the first step.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def run_once(function: Callable, out_shardings) -> Callable:
    """Jits a function that runs once per start, such as weight initialisation, with as little optimisation as helps."""
    # On a CPU, optimising the hundreds of small random generators of fresh weights takes a minute and saves nothing.
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(function, out_shardings=out_shardings, compiler_options=quick)


def compile_step(train_step: Any, arguments: tuple, say: Callable[[str], None]) -> tuple[jax.stages.Compiled, bool]:
    """Compiles a jitted training step; says before how long that usually takes, and after how long it took.

    Args:
      train_step: of `training.step.make_train_step`.
      arguments: trees of shapes and types.
      say: prints a line.

    Returns:
      the step, and whether JAX's cache of compiled programs gave it.
    """
    arrays, began = len(jax.tree.leaves(arguments)), time.perf_counter()
    say(f"compiling the step: {expected(arrays)} …")
    with _cache_events() as events:
        compiled = train_step.lower(*arguments).compile(STEP_OPTIONS.get(jax.default_backend()))
    seconds, cached = time.perf_counter() - began, "cache_hits" in events and "cache_misses" not in events
    _note(arrays, seconds, cached)
    say(f"compiled in {seconds:.0f} s" + (", from the cache" if cached else ""))
    return compiled, cached


def expected(arrays: int) -> str:
    """How long compilation takes, in words: an estimate in proportion to the number of arrays.

    It is the median over recent compilations on devices of this kind, which are noted beside the cache. Before the
    first one it is that of two CPU cores, and unknown for other devices.

    Args:
      arrays: of the step's arguments, a measure of the program's size.
    """
    found = [note for note in _notes() if note["device"] == jax.devices()[0].device_kind]
    rates = {
        cached: [note["seconds"] / note["arrays"] for note in found if note["cached"] is cached][-RECENT:]
        for cached in (False, True)
    }
    cache = jax.config.jax_compilation_cache_dir
    if rates[False]:
        first = f"usually {_about(arrays, rates[False])} ({len(rates[False])} timed on this machine)"
    elif jax.default_backend() == "cpu":
        first = f"{_about(arrays, [TWO_CORES])} on two CPU cores (none timed on this machine yet)"
    else:
        first = "often minutes (none timed on this machine yet)"
    again = (
        f"{_about(arrays, rates[True])} when read from {cache}" if rates[True] else f"later starts read it from {cache}"
    )
    return f"{first}; {again}"


def _about(arrays: int, rates: Sequence[float]) -> str:
    seconds = arrays * statistics.median(rates)
    return f"about {seconds:.0f} s" if seconds < 100 else f"about {seconds / 60:.0f} min"


@contextlib.contextmanager
def _cache_events() -> Iterator[set[str]]:
    """Collects the names of JAX's events about its cache of compiled programs: `cache_hits`, `cache_misses`, …"""
    events: set[str] = set()

    def listen(event: str, **_: Any) -> None:
        if event.startswith("/jax/compilation_cache/"):
            events.add(event.rpartition("/")[2])

    jax.monitoring.register_event_listener(listen)
    try:
        yield events
    finally:
        jax.monitoring.unregister_event_listener(listen)


def _file() -> Path | None:
    """The file of notes; None where there is no cache, or it is in a bucket."""
    folder = jax.config.jax_compilation_cache_dir
    return None if not folder or "://" in folder else Path(folder) / NOTES


def _notes() -> list[dict]:
    """The readable lines of the file of notes."""
    notes = []
    if file := _file():
        with contextlib.suppress(OSError):
            for line in file.read_text().splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    notes.append(json.loads(line))
    return notes


def _note(arrays: int, seconds: float, cached: bool) -> None:
    """Notes a compilation, by process 0 only."""
    device = jax.devices()[0].device_kind
    line = json.dumps({"device": device, "arrays": arrays, "seconds": round(seconds, 1), "cached": cached})
    if (file := _file()) and jax.process_index() == 0:
        with contextlib.suppress(OSError):  # the notes only serve estimates
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as notes:
                notes.write(f"{line}\n")
