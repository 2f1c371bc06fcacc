"""Talking-face systems: what each one brings, and how the rest of the package finds it.

`config.model.system` names the system of a run: DAVS itself, or a package in `davs_jax/baselines/`. A system brings
four modules, and each is imported only by those that need it:

`networks`, for `models`
    `build(model) -> {name: Module}` and `example_inputs(model, batch) -> {name: arrays}`, as of `models/davs.py`;
    `ADVERSARIES`, the names of the discriminator player's networks.
`examples`, for `data`
    `clip_example(record, rng, config, keys) -> {key: array}`: a clip's entries of a training batch;
    `clip_audio(record) -> [T, …]` and `stream_audio(blocks, fps)`, which yields `[n, …]`: what the system's encoder of
    speech reads for each frame, of a record and of audio of any length.
`training`, for `training`
    `TERMS`, `check(config, active)`, `batch(config, active, modalities)`, `forward(networks, batch)`,
    `discriminator_losses(networks, outputs, batch)` and `generator_losses(networks, outputs, batch)`, as of
    `training/davs.py`. Optional: `prepare(config) -> {network: weights}` computes first weights from the clips;
    networks that `config.init_from` provides keep theirs.
`talker`, for generation and evaluation
    `TALKER`, a class derived from `talker.Talker`: the trained system, which makes frames from a photo and speech.

docs/baselines.md shows how to add a system.
"""

import importlib
import pkgutil
from types import ModuleType

from davs_jax.errors import ConfigError

DAVS = "davs"
# What each module must have.
PARTS = {
    "networks": ("build", "example_inputs", "ADVERSARIES"),
    "examples": ("clip_example", "clip_audio", "stream_audio"),
    "training": ("TERMS", "check", "batch", "forward", "discriminator_losses", "generator_losses"),
    "talker": ("TALKER",),
}
_OWN = {
    "networks": "davs_jax.models.davs",
    "examples": "davs_jax.data.examples",
    "training": "davs_jax.training.davs",
    "talker": "davs_jax.inference",
}
_BASELINES = "davs_jax.baselines"


def names() -> tuple[str, ...]:
    """All systems: DAVS, then the baselines."""
    packages = pkgutil.iter_modules(importlib.import_module(_BASELINES).__path__)
    return DAVS, *sorted(package.name for package in packages if package.ispkg)


def part(system: str, name: str) -> ModuleType:
    """One module of a system.

    The system must be one of `names`: a stored config cannot make the package import anything else.

    Args:
      name: a key of PARTS.

    Raises:
      ConfigError: there is no such system, or it lacks the module or something that the module must have.
    """
    if system not in names():
        raise ConfigError(f"config.model.system is {system!r}", f"it must be one of {', '.join(names())}")
    path = _OWN[name] if system == DAVS else f"{_BASELINES}.{system}.{name}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        raise ConfigError(f"the system {system} has no module {name}", f"add {path}") from error
    if lacking := [item for item in PARTS[name] if not hasattr(module, item)]:
        raise ConfigError(f"{path} has no {', '.join(lacking)}", "davs_jax.systems says what it must have")
    return module
