"""Checks of state dicts that the official networks and SyncNet share."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from davs_jax.errors import CheckpointError, first_line
from davs_jax.import_official.tensors import Other

PREFIX = "module."  # of every key, where `torch.nn.DataParallel` wraps the network
WRAPPERS = ("state_dict", "model")  # keys under which training scripts put what they save
NAMED = 3  # problems in an error's sentence


def unprefixed(name: str, state_dict: Mapping[Any, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values by key without `PREFIX`, and what is wrong with the keys, each beginning with `name`."""
    if not state_dict:
        return {}, [f"{name}: is empty"]
    found, problems = {}, []
    for key, value in state_dict.items():
        if not isinstance(key, str):
            problems.append(f"{name}: the key {first_line(key, 40)} is not text")
            continue
        short = key.removeprefix(PREFIX)
        if short in found:
            problems.append(f"{name}.{short}: is there with and without {PREFIX!r}")
        found[short] = value
    return found, problems


def fault(key: str, value: Any, shape: tuple[int, ...]) -> str:
    """What is wrong with one tensor, "" where nothing is: it converts to float32, is finite and of this shape."""
    if isinstance(value, Other):
        return f"is {value.kind}"
    try:
        tensor = np.asarray(value)
    except ValueError:
        return "is no tensor"
    if tensor.shape != shape:
        return f"expected shape {shape}, found {tensor.shape}"
    if not jnp.issubdtype(tensor.dtype, np.floating):
        return f"holds {tensor.dtype}, not floating-point numbers"
    with np.errstate(over="ignore"):
        tensor = tensor.astype(np.float32)
    if wrong := int(tensor.size - np.isfinite(tensor).sum()):
        return f"{wrong:,} of its {tensor.size:,} numbers are not finite"
    if key.endswith("running_var") and (tensor < 0).any():
        return "holds negative variances"
    return ""


def is_rounded(value: Any) -> bool:
    """Whether a tensor loses digits as float32."""
    tensor = np.asarray(value)
    return tensor.dtype == np.float64 and bool((tensor.astype(np.float32) != tensor).any())


def unwrapped(stored: Any) -> tuple[Any, str]:
    """What lies under the one of `WRAPPERS` that a mapping has, with its key; the value itself and "" otherwise."""
    if isinstance(stored, Mapping):
        held = [key for key in WRAPPERS if isinstance(stored.get(key), Mapping)]
        if len(held) == 1:
            return stored[held[0]], held[0]
    return stored, ""


def refusal(of: str, problems: Sequence[str]) -> CheckpointError:
    """One sentence that names the first problems and counts the others."""
    more = f"; and {len(problems) - NAMED:,} more" if len(problems) > NAMED else ""
    return CheckpointError(
        f"these are not weights of {of}: {'; '.join(problems[:NAMED])}{more}", "give a copy as it was released"
    )
