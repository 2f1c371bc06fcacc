"""What made a report: the commit, the versions of the packages, and the device."""

import importlib.metadata
import platform
import shutil
import subprocess
from pathlib import Path

import jax

PACKAGES = ("davs_jax", "jax", "flax", "numpy", "scikit-learn")


def environment() -> dict[str, str]:
    """Commit (where the code lies in a git checkout), versions and device, by name."""
    describe = ("git", "describe", "--always", "--dirty", "--abbrev=40")
    commit = ""
    if shutil.which("git"):
        commit = subprocess.run(describe, cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return {
        "commit": commit or "not a git checkout",
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
        "device": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
    }
