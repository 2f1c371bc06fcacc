"""DAVS, the Disentangled Audio-Visual System (Zhou et al., AAAI 2019), in JAX.

import davs_jax

model = davs_jax.load()
for frame in model.talk("me.jpg", audio="speech.wav"):
    ...
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from davs_jax.api import Model

__version__ = "0.1.0"


def load(path: "str | Path | None" = None, batch: int | None = None) -> "Model":
    """Loads a trained model. Importing davs_jax loads nothing heavy; this call imports JAX.

    Args:
      path: a workdir, one checkpoint in it, or an exported folder; None is the demo model of the package.
      batch: frames per call of the networks, on one device; use 1 for live audio. None is the best size for the
        device, and all devices of this host.

    Raises:
      CheckpointError: there are no weights, or they are damaged.
    """
    from davs_jax import api

    return api.load(path, batch)
