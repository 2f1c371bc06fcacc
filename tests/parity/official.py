"""The official system's recorded numbers, and what it means to agree with them."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import seeded

NUMBERS = json.loads(Path(__file__).with_name("official.json").read_text())
TOLERANCE = 1e-3


def weights(networks: Iterable[str], shapes: dict = MappingProxyType({}), norm_bias: float = 0.0) -> dict[str, dict]:
    """Seeded official state dicts; `shapes` replaces some of the published ones, by network and key."""
    return {
        network: seeded.state_dict(network, NUMBERS["shapes"][network] | shapes.get(network, {}), norm_bias)
        for network in networks
    }


def assert_close(found, expected, unit: float, what: str, tolerance: float = TOLERANCE, rounding: float = 0.0) -> None:
    """Within a tolerance of a unit (the quantity's own size, or the root mean square of the array it is from).

    `rounding` comes on top: what the arithmetic loses where large terms cancel.
    """
    error = np.max(np.abs(np.asarray(found) - np.asarray(expected)))
    assert error <= tolerance * unit + rounding, (
        f"{what}: {found} instead of {expected}; the error is {error / unit:.1e} of {unit:.3g}"
    )


def assert_output(array: np.ndarray, name: str, expected: dict) -> None:
    """An array against its recorded `seeded.summary`."""
    found = seeded.summary(name, array)
    assert found["shape"] == expected["shape"]
    rms = expected["norm"] / math.sqrt(math.prod(expected["shape"]))
    for figure in ("mean", "std", "values"):
        assert_close(found[figure], expected[figure], rms, f"{figure} of {name}")
    assert_close(found["norm"], expected["norm"], expected["norm"], f"norm of {name}")


def assert_tensor(
    tensor: np.ndarray,
    network: str,
    key: str,
    expected: list[float],
    tolerance: float = TOLERANCE,
    rounding: float = 0.0,
) -> None:
    """A tensor of the official layout against its recorded `seeded.signature`; `rounding` of its norm."""
    (norm, product), (expected_norm, expected_product) = seeded.signature(network, key, tensor), expected
    assert_close(norm, expected_norm, expected_norm, f"norm of {network}.{key}", tolerance, rounding)
    share = 1 / math.sqrt(tensor.size)  # of the norms: what the product of two unrelated tensors is worth
    what = f"direction of {network}.{key}"
    assert_close(product, expected_product, share * expected_norm, what, tolerance, share * rounding)
