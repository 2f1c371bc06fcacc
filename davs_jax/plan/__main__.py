"""Plans the training of a stage on a TPU machine without one: compiles the real step for it, estimates memory and time.

example: python -m davs_jax.plan --config configs/lrw.py --topology v5e:16x16

  --config FILE[:STAGE]    the stage; --config.KEY=VALUE changes a setting, as in davs_jax.main
  --topology NAME[,NAME]   machines, shown side by side: v4, v5e, v5p, v6e, tpu7x with their shape, such as v5e:4x4 or
                           v5p:4x4x4; h100:8, h200:8 (one host; an estimate)
  --clips_per_chip N       default: the config's batch divided over the chips, at least 1
  --nosearch               skips the search for the largest batch that fits (each try compiles for minutes)
  --quick                  compiles with little optimisation, in a fraction of the time, and skips that search: memory
                           traffic and cycles come out higher than in a full plan, and memory differs (TPUs only)
  --curve                  also a table for 4, 16, 64, 256 chips of each kind, with the same number of clips per chip
  --plot FILE.png          the curve as an image
  --help                   this text

Needs pip install 'davs_jax[plan]'. A full-size step takes minutes to compile; results are cached on disk. Times are
lower bounds from the vendors' peak figures, which no program reaches; docs/plan.md explains them.
"""

import signal
import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from davs_jax import command_line

PROGRAM = "davs_jax.plan"
_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_TOPOLOGY = flags.DEFINE_list("topology", [], "Machines.")
_CLIPS = flags.DEFINE_integer("clips_per_chip", None, "Clips a chip.", lower_bound=1)
_SEARCH = flags.DEFINE_bool("search", True, "Look for the largest batch that fits.")
_QUICK = flags.DEFINE_bool("quick", False, "Compile with little optimisation.")
_CURVE = flags.DEFINE_bool("curve", False, "Plan for 4, 16, 64, 256 chips.")
_PLOT = flags.DEFINE_string("plot", None, "Image of the curve.")


def main(argv: list[str]) -> int:
    """Plans according to the parsed flags; returns the exit status."""
    from davs_jax.plan import machines

    machines.quiet()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the compiler's process ends too
    from davs_jax.errors import DavsError
    from davs_jax.plan import planner, tables

    config = _CONFIG.value
    try:
        chosen = [machines.parse(name) for name in _TOPOLOGY.value]
        for machine in chosen:
            machine.compiler()
        plans = [planner.plan(config, machine, _CLIPS.value, _QUICK.value and not machine.is_gpu) for machine in chosen]
        largest = {}
        if _SEARCH.value and not _QUICK.value:
            largest = {m.name: planner.largest(config, m, c.examples // m.size) for m, c, _ in plans}
        print(tables.beside(plans, largest), flush=True)
        print(*(f"\n{tables.consumers(m, c)}" for m, c, _ in plans if c.consumers), sep="\n", flush=True)
        print("", *planner.remarks(config, plans), sep="\n")
        if _CURVE.value:
            curves = {m.kind: planner.curve(config, m, c.examples // m.size, c.quick) for m, c, _ in plans}
            for plans in curves.values():
                print(f"\n{tables.curve(plans)}", flush=True)
            if _PLOT.value:
                Path(_PLOT.value).write_bytes(tables.plot(curves))
                print(f"\nplot: {_PLOT.value}")
    except (DavsError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0


def parse(argv: list[str]) -> list[str]:
    """Parses the flags; an invalid command line ends the process with one sentence and status 2."""
    rest = command_line.parse(PROGRAM, __doc__, argv)
    if not _TOPOLOGY.value:
        command_line.refuse(PROGRAM, "--topology is missing: --topology=v5e:16x16, for example; see --help")
    if _PLOT.value and not _CURVE.value:
        command_line.refuse(PROGRAM, "--plot plots the curve: give --curve too")
    return rest


@command_line.command
def run() -> None:
    """Entry point of the command line."""
    app.run(main, flags_parser=parse)


if __name__ == "__main__":
    run()
