"""One config on one machine, its largest batch, and its scaling curve."""

import math
from collections.abc import Iterator, Sequence

from ml_collections import ConfigDict

from davs_jax.plan import compiling, roofline, search
from davs_jax.plan.compiling import Compiled
from davs_jax.plan.machines import CURVE, Machine, MachineError, parse
from davs_jax.plan.tables import Plan
from davs_jax.training.stage import Stage

EXAMPLES = {"batch_size": "clips", "face_batch_size": "images"}


def batch_setting(config) -> str:
    """Name of the batch size that leads: of clips, or of identity images where the stage reads no clips.

    Raises:
      ConfigError: an invalid config.
    """
    return "batch_size" if Stage.from_config(config).reads_clips else "face_batch_size"


def sized(config, machine: Machine, per_chip: int | None) -> ConfigDict:
    """The config with this many examples per chip; with None its own number, rounded up to fill all chips.

    If the step reads its batch in parts (`config.accumulate`), the number is rounded up to fill all parts. The ratio of
    identity images to clips is kept.

    Raises:
      ConfigError: an invalid config.
    """
    resized, leading = ConfigDict(config.copy_and_resolve_references()), batch_setting(config)
    given, unit = config.data[leading], machine.size * config.accumulate
    total = unit * math.ceil((machine.size * per_chip if per_chip else given) / unit)
    for name in ("batch_size", "face_batch_size"):
        resized.data[name] = unit * math.ceil(config.data[name] * total / given / unit)
    return resized


def _compiled(config, machine: Machine, quick: bool = False) -> Compiled:
    setting = batch_setting(config)
    return compiling.compiled(config, machine, f"{config.data[setting]} {EXAMPLES[setting]}", quick)


def plan(config, machine: Machine, per_chip: int | None = None, quick: bool = False) -> Plan:
    """One column of the table.

    Raises:
      PlanError, MachineError: it cannot be compiled for this machine.
    """
    compiled = _compiled(sized(config, machine, per_chip), machine, quick)
    if not compiled.fits:
        return machine, compiled, None
    return machine, compiled, roofline.estimate(compiled, machine, config.model.dtype == "float32")


def largest(config, machine: Machine, start: int) -> int:
    """The largest number of examples per chip whose step fits; the search begins at `start`.

    Raises:
      PlanError, MachineError: it cannot be compiled for this machine.
    """
    parts = config.accumulate

    def compile_for(clips_a_part: int) -> Compiled:
        return _compiled(sized(config, machine, clips_a_part * parts), machine)

    found, _ = search.largest(compile_for, machine.chip.memory, max(1, start // parts))
    return found * parts


def curve(config, machine: Machine, per_chip: int, quick: bool = False) -> list[Plan]:
    """The same number of examples per chip on machines of increasing size, as far as the compiler knows them."""
    plans = []
    for shape in CURVE[machine.chip.axes]:
        try:
            plans.append(plan(config, parse(f"{machine.kind}:{shape}"), per_chip, quick))
        except MachineError:
            break  # larger than any that the compiler can describe
    return plans


def remarks(config, plans: Sequence[Plan]) -> Iterator[str]:
    """Remarks that belong to the table."""
    for machine, compiled, times in plans:
        given = config.data[batch_setting(config)]
        if compiled.examples != given:
            yield (
                f"{machine.name}: the config has {given} examples per step, this plan {compiled.examples:,}; "
                f"to train with it: --config.data.{batch_setting(config)}={compiled.examples} (adapt the learning rate)"
            )
        if not compiled.fits:
            yield f"{machine.name}: the step needs {compiled.peak / 2**30:.2f} GiB of each device, which is too much"
        if times and roofline.decoding_cores(compiled.images, times.best) > machine.host_cores:
            yield f"{machine.name}: its hosts cannot decode JPEGs as fast as the chips might train"
        if compiled.quick:
            yield (
                f"{machine.name}: --quick leaves out the search for the largest batch and most of the compiler's "
                "optimisation: memory traffic and cycles are higher than in a full plan, and memory differs; compare "
                "quick plans with quick ones only"
            )
        if machine.is_gpu:
            yield f"{machine.name}: an estimate without autotuning; times omit memory traffic, which is unknown"
