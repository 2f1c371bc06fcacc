"""`python -m davs_jax.models --config configs/lrw.py`: a table of the networks, their shapes, sizes and costs."""

import jax
from absl import app
from ml_collections import config_flags

from davs_jax import models

_CONFIG = config_flags.DEFINE_config_file("config", "configs/common.py", "The configuration whose networks to show.")


def _shapes(tree) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{stride}: {_shapes(leaf)}" for stride, leaf in tree.items()) + "}"
    if isinstance(tree, tuple):
        return ", ".join(map(_shapes, tree))
    return "×".join(map(str, tree.shape[1:])) or "1"


def table(model) -> str:
    """One line a network: inputs and outputs without the batch axis, parameters, and FLOPs for one example."""
    rows = [("network", "in", "out", "parameters", "MFLOP")]
    inputs = models.example_inputs(model)
    for name, module in models.build(model).items():
        variables = jax.eval_shape(lambda *x, m=module: m.init(jax.random.key(0), *x, train=False), *inputs[name])

        def forward(v, *x, m=module):
            return m.apply(v, *x, train=False)

        lowered = jax.jit(forward).lower(variables, *inputs[name])
        out = jax.eval_shape(forward, variables, *inputs[name])
        count = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
        flops = lowered.cost_analysis().get("flops", 0)
        rows.append((name, _shapes(inputs[name]), _shapes(out), f"{count:,}", f"{flops / 1e6:,.1f}"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    aligned = [
        "  ".join(
            cell.rjust(w) if i > 2 else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in aligned)


def main(argv) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]!r}")
    model = _CONFIG.value.model
    print(f"{model.image_size} px, width {model.width:g}; shapes without the batch axis\n")
    print(table(model))


if __name__ == "__main__":
    app.run(main)
