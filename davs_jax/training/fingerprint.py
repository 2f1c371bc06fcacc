"""What a compiled training step depends on besides the devices: settings, code and versions, in one hash."""

import hashlib
import json
from pathlib import Path

import flax
import jax
import jaxlib
import optax

from davs_jax import systems

SOURCES = (  # of davs_jax, all that the step is made of
    "constants.py",
    "face_geometry.py",
    "errors.py",
    "user_folders.py",
    "systems.py",
    "models/*.py",
    "parallel/*.py",
    *(f"training/{name}.py" for name in ("__init__", "checks", "davs", "forward", "losses", "networks", "optimizer")),
    *(f"training/{name}.py" for name in ("stage", "state", "step", "terms")),
)
IRRELEVANT = ("log", "checkpoint", "profile", "init_from", "init_networks")  # without effect on the step
RELEVANT_DATA = ("batch_size", "face_batch_size")
PACKAGES = (jax, jaxlib, flax, optax)


def of(config) -> str:
    """A hash that differs between any two configs, or installations, that may differ in a step's program."""
    settings = {name: value for name, value in json.loads(config.to_json()).items() if name not in IRRELEVANT}
    settings["data"] = {name: settings["data"][name] for name in RELEVANT_DATA}
    root, code = Path(__file__).parents[1], hashlib.sha256()
    files = {path for pattern in SOURCES for path in root.glob(pattern)}
    if config.model.system != systems.DAVS:
        files |= set(Path(systems.part(config.model.system, "training").__file__).parent.glob("*.py"))
    for path in sorted(files):
        code.update(path.read_bytes() + b"\0")
    versions = {package.__name__: package.__version__ for package in PACKAGES}
    parts = json.dumps([settings, versions, code.hexdigest()], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()
