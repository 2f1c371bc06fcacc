"""Lists the networks of a config: their input and output shapes, parameters and FLOPs.

example: python -m davs_jax.models --config configs/lrw.py --config.model.width=0.5

  --config FILE[:STAGE]  a config file, configs/common.py by default; configs/… is also found outside the checkout
  --config.KEY=VALUE     changes one setting
  --help                 this text
"""

import sys

from absl import app, logging
from ml_collections import config_flags

from davs_jax import command_line

PROGRAM = "davs_jax.models"
_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")


def _shapes(tree) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{stride}: {_shapes(leaf)}" for stride, leaf in tree.items()) + "}"
    if isinstance(tree, tuple):
        return ", ".join(map(_shapes, tree))
    return "×".join(map(str, tree.shape[1:])) or "1"


def table(model) -> str:
    """One line per network: inputs and outputs without the batch axis, parameters, and MFLOP for one example.

    Raises:
      ConfigError: the topology has no such image size or skip.
    """
    import jax  # here: a wrong command line is refused without waiting for it

    from davs_jax import models
    from davs_jax.display.tables import text_table

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
    return text_table(rows, left=3)


def main(argv: list[str]) -> int:
    """Prints the table; returns the exit status."""
    from davs_jax.errors import DavsError

    logging.set_verbosity(logging.WARNING)  # app.run's default lets JAX log each platform that it does not find
    model = _CONFIG.value.model
    try:
        listed = table(model)
    except DavsError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    print(f"{model.image_size} px, width {model.width:g}; shapes without the batch axis\n")
    print(listed)
    return 0


def parse(argv: list[str]) -> list[str]:
    """Parses the flags; an invalid command line ends the process with one sentence and status 2."""
    return command_line.parse(PROGRAM, __doc__, argv, default="configs/common.py")


@command_line.command
def run() -> None:
    """Entry point of the command line."""
    app.run(main, flags_parser=parse)


if __name__ == "__main__":
    run()
