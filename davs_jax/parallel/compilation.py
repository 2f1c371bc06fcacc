"""Compiled programs, kept on the disk from one process to the next."""

import os
from collections.abc import Callable

import jax

# What the compiler of a platform is told for the training step. libtpu's pass that moves space into the batch ends the
# process on a kernel's gradient of the joint stage at few clips a chip ("Check failed: std::abs(halo_size - …)").
STEP_OPTIONS = {"tpu": {"xla_tpu_run_space_to_batch": "false", "xla_tpu_run_space_to_batch_on_new_platforms": "false"}}
CACHE = "~/.cache/davs_jax/xla"  # where JAX_COMPILATION_CACHE_DIR names no other folder


def keep_compilations() -> None:
    """Makes a run that starts again find what an earlier one has compiled."""
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", os.path.expanduser(CACHE))
    # JAX's own choice leaves out what compiles within a second; of that there is much before the first step.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def run_once(function: Callable, out_shardings) -> Callable:
    """Jits a function that runs once per start, such as weight initialisation, with as little optimisation as helps."""
    # On a CPU, optimising the hundreds of small random generators of fresh weights takes a minute and saves nothing.
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(function, out_shardings=out_shardings, compiler_options=quick)
