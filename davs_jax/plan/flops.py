"""Floating-point operations of a traced function: its matrix products and convolutions, nearly all of its work."""

import math

import jax
from jax.interpreters import partial_eval


def count(function, *arguments) -> float:
    """Floating-point operations (a multiplication and an addition are two) of `function(*arguments)`.

    Recomputed operations count twice; operations that no result needs, such as the gradient of an image, do not count.
    Loops count every iteration (`while` loops, whose number of iterations is unknown, one). Of branches for
    platforms the default counts: upsampling's products, and convolutions without the zeros of packed columns
    (davs_jax/models/lanes.py). Convolutions count padding as data.

    Args:
      arguments: arrays, or their `jax.ShapeDtypeStruct`.
    """
    return of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr)


def of_jaxpr(jaxpr) -> float:
    """The same for a function that is already traced."""
    needed, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return _operations(needed)


def _operations(jaxpr) -> float:
    return sum(_equation(equation) for equation in jaxpr.eqns)


def _equation(equation) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        return 2.0 * equation.outvars[0].aval.size * depth
    if name == "conv_general_dilated":
        kernel, numbers = equation.invars[1].aval.shape, params["dimension_numbers"]
        taps = math.prod(kernel[axis] for axis in numbers.rhs_spec[1:])
        # In a dilated input, only one tap in as many meets a number other than zero.
        return 2.0 * equation.outvars[0].aval.size * taps / math.prod(params["lhs_dilation"])
    if name == "cond":
        return _operations(params["branches"][-1].jaxpr)
    inner = [getattr(value, "jaxpr", value) for value in params.values()]
    total = sum(_operations(jaxpr) for jaxpr in inner if hasattr(jaxpr, "eqns"))
    return total * params.get("length", 1) if name == "scan" else total
