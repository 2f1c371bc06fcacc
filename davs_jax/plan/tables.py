"""Plans as text tables and plots."""

import io
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from davs_jax.display.tables import text_table
from davs_jax.plan import roofline
from davs_jax.plan.collectives import KINDS
from davs_jax.plan.compiling import Compiled
from davs_jax.plan.machines import GIB, Machine
from davs_jax.plan.roofline import Estimate

Plan = tuple[Machine, Compiled, Estimate | None]  # no estimate where the step does not fit


def gib(count: float) -> str:
    return f"{count / GIB:.2f} GiB"


def bytes_text(count: float) -> str:
    """A number of bytes in B, KiB, MiB or GiB."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:,.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def time_text(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.2f} ms"


def beside(plans: Sequence[Plan], largest: dict[str, int]) -> str:
    """All figures of several machines, one column per machine.

    Args:
      largest: by machine, the largest number of clips per chip that fits, if it was searched for.
    """
    rows = [("", *(machine.name for machine, _, _ in plans))]

    def row(title: str, value) -> None:
        rows.append((title, *(value(*plan) for plan in plans)))

    def timed(title: str, value) -> None:
        row(title, lambda m, c, e: value(m, c, e) if e else "-")

    row("devices", lambda m, c, e: f"{m.size}")
    row("clips a step (a chip)", lambda m, c, e: f"{c.examples:,} ({c.examples // m.size:,})")
    for kind in plans[0][1].held:
        row(f"memory: {kind}", lambda m, c, e, kind=kind: gib(c.held[kind]))
    row("memory: intermediate values", lambda m, c, e: gib(c.temporaries) if c.fits else "-")
    row("memory: program", lambda m, c, e: gib(c.code) if c.fits else "-")
    row("memory: most at once", lambda m, c, e: gib(c.peak))
    row("memory of a device", lambda m, c, e: gib(c.limit or m.chip.memory))
    row("fits", lambda m, c, e: "yes" if c.fits else "NO")
    if largest:
        row("most clips a chip that fit", lambda m, c, e: str(largest.get(m.name, "-")))
    timed("operations a device", lambda m, c, e: f"{c.flops / 1e9:,.1f} GFLOP")
    timed("memory traffic a device", lambda m, c, e: gib(c.bytes) if c.bytes else "unknown")
    timed("of which padding", lambda m, c, e: f"{c.padding / c.bytes:.0%}" if c.bytes else "unknown")
    for kind in KINDS:
        if any(found.kind == kind for _, c, _ in plans for found in c.collectives):
            timed(f"{kind}: number, bytes", lambda m, c, e, kind=kind: _collectives(c, kind))
    timed("time: compute", lambda m, c, e: time_text(e.compute))
    timed("time: memory", lambda m, c, e: time_text(e.memory) if c.bytes else "unknown")
    timed("time: network", lambda m, c, e: time_text(e.network))
    timed("bound by", lambda m, c, e: e.bound)
    timed("step, all overlapping", lambda m, c, e: time_text(e.best))
    timed("step, nothing overlapping", lambda m, c, e: time_text(e.worst))
    timed("step, compiler's cycles", lambda m, c, e: time_text(e.cycles) if e.cycles else "unknown")
    timed("clips/s", lambda m, c, e: f"{c.examples / e.worst:,.0f}-{c.examples / e.best:,.0f}")
    timed("hours an LRW epoch", lambda m, c, e: _range(c, e))
    timed("cores to decode JPEGs", lambda m, c, e: f"{roofline.decoding_cores(c.images, e.best):,.0f}")
    timed("cores of its hosts", lambda m, c, e: f"{m.host_cores:,}")
    row("compilation", lambda m, c, e: f"{c.seconds:,.0f} s")
    return text_table(rows)


def consumers(machine: Machine, compiled: Compiled) -> str:
    """The layers of most memory traffic on one machine: their shares of it and of the compiler's cycles."""
    rows = [(f"{machine.name}: most memory traffic", "traffic", "of all", "padding", "of all cycles")]
    for found in compiled.consumers:
        padding = f"{found.padding / found.bytes:.0%}" if found.bytes else "-"
        cycles = f"{found.cycles / compiled.cycles:.1%}" if compiled.cycles else "-"
        rows.append((found.name, bytes_text(found.bytes), f"{found.bytes / compiled.bytes:.1%}", padding, cycles))
    return text_table(rows)


def _collectives(compiled: Compiled, kind: str) -> str:
    found = [found for found in compiled.collectives if found.kind == kind]
    return f"{sum(f.times for f in found):,}, {bytes_text(sum(f.times * f.bytes for f in found))}"


def _range(compiled: Compiled, estimate: Estimate) -> str:
    fast, slow = (roofline.epoch_hours(compiled.examples / seconds) for seconds in (estimate.best, estimate.worst))
    return f"{fast:.2g}-{slow:.2g}"


def curve(plans: Sequence[Plan]) -> str:
    """Clips per second by machine size, and their fraction of linear scaling."""
    rows = [("machine", "devices", "clips a step", "step", "bound by", "clips/s", "of ideal", "network's share")]
    fitting = [plan for plan in plans if plan[2]]
    for machine, compiled, times in plans:
        if not times:
            rows.append((machine.name, str(machine.size), f"{compiled.examples:,}", "does not fit", *["-"] * 4))
            continue
        first, _, base = fitting[0]
        rate, per_device = compiled.examples / times.worst, fitting[0][1].examples / base.worst / first.size
        rows.append(
            (
                machine.name,
                str(machine.size),
                f"{compiled.examples:,}",
                time_text(times.worst),
                times.bound,
                f"{rate:,.0f}",
                f"{rate / machine.size / per_device:.0%}",
                f"{times.network / times.worst:.1%}",
            )
        )
    return text_table(rows)


def plot(curves: dict[str, Sequence[Plan]]) -> bytes:
    """PNG of clips per second over devices, one line per kind of chip, with its linear scaling."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for color, (kind, plans) in zip(("#3056d3", "#d35630", "#2a8a57", "#7b3fb0"), curves.items(), strict=False):
        fitting = [plan for plan in plans if plan[2]]
        if not fitting:
            continue
        devices = [machine.size for machine, _, _ in fitting]
        rates = [compiled.examples / times.worst for _, compiled, times in fitting]
        axes.plot(devices, rates, "o-", color=color, label=kind)
        ideal = [rates[0] * size / devices[0] for size in devices]
        axes.plot(devices, ideal, "--", color=color, linewidth=0.8, alpha=0.6)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    sizes = sorted({machine.size for plans in curves.values() for machine, _, _ in plans})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xlabel("devices")
    axes.set_title("clips per second, nothing overlapping (dashed: linear scaling)", fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
