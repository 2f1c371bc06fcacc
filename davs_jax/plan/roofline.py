"""Roofline model: lower bounds of a step's time from its needs and the machine's peak rates."""

import dataclasses

from davs_jax.plan.collectives import Collective
from davs_jax.plan.compiling import Compiled
from davs_jax.plan.machines import HOP, Machine

LRW_CLIPS = 488_766  # clips of a training epoch
# Images of 260 px that one CPU core decodes per second: 59 clips of the joint stage (docs/performance.md, Loading) of
# 33 images each. Identical images of a clip are decoded once, in that measurement as in a plan.
JPEGS_PER_CORE = 59 * 33


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Seconds of a step, for each resource alone at its stated peak rate.

    Attributes:
      compute, memory, network: seconds.
      cycles: seconds by the compiler's estimates of the program's parts, one after the other; 0 is unknown. It is no
        bound, and nothing of the network is in it.
    """

    compute: float
    memory: float
    network: float
    cycles: float = 0.0

    @property
    def best(self) -> float:
        """Seconds of a step if everything overlaps."""
        return max(self.compute, self.memory, self.network)

    @property
    def worst(self) -> float:
        """Seconds of a step if nothing overlaps, still at peak rates."""
        return self.compute + self.memory + self.network

    @property
    def bound(self) -> str:
        """The resource that takes longest."""
        return max(("compute", "memory", "network"), key=lambda name: getattr(self, name))


def transfer(found: Collective, machine: Machine) -> float:
    """Seconds of one execution of a collective, on a ring or torus in both directions.

    Every device of a group of g sends (g − 1)/g of the array, of an all-reduce twice that (a reduce-scatter and an
    all-gather); of a permutation it sends its own. No collective is faster than the hops of its message.
    """
    group = found.group or machine.size
    share = (group - 1) / group
    sent = {"all-reduce": 2 * share, "collective-permute": 1.0}.get(found.kind, share) * found.bytes
    if group == 1:
        return 0.0
    passes = 2 if found.kind == "all-reduce" else 1
    return max(sent / machine.network, passes * machine.hops * HOP)


def estimate(compiled: Compiled, machine: Machine, full_precision: bool = False) -> Estimate:
    """Time of a step that fits.

    Args:
      full_precision: the networks compute in float32, which halves the rate of a GPU.
    """
    rate = machine.chip.flops / (2 if machine.is_gpu and full_precision else 1)
    return Estimate(
        compute=compiled.flops / rate,
        memory=compiled.bytes / machine.chip.bandwidth,
        network=sum(found.times * transfer(found, machine) for found in compiled.collectives),
        cycles=compiled.cycles / machine.chip.clock if machine.chip.clock else 0.0,
    )


def epoch_hours(clips_per_second: float) -> float:
    """Hours of one epoch of LRW's training clips."""
    return LRW_CLIPS / clips_per_second / 3600


def decoding_cores(images_per_step: int, seconds: float) -> float:
    """CPU cores that decode this many images in this many seconds."""
    return images_per_step / seconds / JPEGS_PER_CORE
