"""The official system's recorded numbers, and what it means to agree with them."""

import json
from pathlib import Path

import numpy as np
import seeded

NUMBERS = json.loads(Path(__file__).with_name("official.json").read_text())
TOLERANCE = 1e-3


def weights(shapes: dict[str, dict[str, list[int]]], norm_bias: float) -> dict[str, dict[str, np.ndarray]]:
    """Seeded official state dicts by network; `shapes` replaces some of the published ones."""
    return {
        network: seeded.state_dict(network, published | shapes.get(network, {}), norm_bias)
        for network, published in NUMBERS["shapes"].items()
    }


def assert_close(found, expected, unit: float, what: str) -> None:
    """Within a thousandth of a unit: the quantity's own size, or the root mean square of the array it is from."""
    error = np.max(np.abs(np.asarray(found) - np.asarray(expected)))
    assert error <= TOLERANCE * unit, f"{what}: {found} instead of {expected}, {error / unit:.1e} of {unit:.3g}"


def assert_output(array: np.ndarray, name: str, expected: dict) -> None:
    """An array against its recorded `seeded.summary`."""
    found = seeded.summary(name, array)
    assert found["shape"] == expected["shape"]
    rms = expected["norm"] / np.sqrt(np.prod(expected["shape"]))
    for figure in ("mean", "std", "values"):
        assert_close(found[figure], expected[figure], rms, f"{figure} of {name}")
    assert_close(found["norm"], expected["norm"], expected["norm"], f"norm of {name}")
