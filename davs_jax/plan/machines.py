"""Machines to plan for: peak figures of a chip as its vendor states them, and the network of a slice.

Sources, read in November 2026: for TPUs the pages "TPU v4", "TPU v5e", "TPU v5p", "TPU v6e" and "TPU7x" of Google
Cloud's documentation (rates, memory, bidirectional bandwidth per chip, of which each link has its share and each
direction half), and those on machine types for hosts; for GPUs NVIDIA's H100 and H200 data sheets (SXM, dense).
"""

import dataclasses
import importlib.metadata
import math
import os
import re

from davs_jax.errors import DavsError, first_line

GIB = 2**30
HOP = 1e-6  # seconds of a message from chip to chip; a rule of thumb, not a stated value


class MachineError(DavsError):
    """An unsupported topology, or one whose compiler is not installed."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device as JAX counts them: a chip (of a TPU7x, half a chip).

    Attributes:
      flops: multiplications and additions per second in bf16, to which JAX's default precision also rounds float32 on
        a TPU. On a GPU, float32 runs at half this rate (TF32).
      memory: bytes.
      bandwidth: bytes per second to that memory.
      link: bytes per second of one link in one direction; of a GPU, of all its links.
      axes: dimensions of the network; 0 is a switch that connects all.
      ring: number of chips along an axis from which on it forms a ring.
      clock: cycles of its core per second, 0 where it is unknown: the rate above is what its matrix units of 128 × 128
        (v5e has 4, v4 and v5p 8) do in as many cycles.
      per_host: devices, and `cores` processor threads, of the host in jobs of many hosts.
    """

    flops: float
    memory: int
    bandwidth: float
    link: float
    axes: int
    ring: int
    per_host: int
    cores: int
    clock: float = 0.0


CHIPS = {
    "v4": Chip(275e12, 32 * GIB, 1228e9, 50e9, 3, 4, 4, 240, 1.05e9),
    "v5e": Chip(197e12, 16 * GIB, 819e9, 50e9, 2, 16, 4, 112, 1.5e9),
    "v5p": Chip(459e12, 95 * GIB, 2765e9, 100e9, 3, 4, 4, 208, 1.75e9),
    "v6e": Chip(918e12, 32 * GIB, 1640e9, 100e9, 2, 16, 4, 180),
    "tpu7x": Chip(2307e12 / 2, 96 * GIB, 7380e9 / 2, 100e9, 3, 4, 8, 224),
    "h100": Chip(989e12, 80 * GIB, 3350e9, 450e9, 0, 0, 8, 192),
    "h200": Chip(989e12, 141 * 10**9, 4800e9, 450e9, 0, 0, 8, 192),
}
CURVE = {2: ("2x2", "4x4", "8x8", "16x16"), 3: ("2x2x1", "2x2x4", "4x4x4", "4x8x8"), 0: ("4", "8")}


@dataclasses.dataclass(frozen=True)
class Machine:
    """Chips of one kind in one slice.

    Attributes:
      kind: key of CHIPS.
      shape: chips along each axis of the network.
    """

    kind: str
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.kind}:{'x'.join(map(str, self.shape))}"

    @property
    def chip(self) -> Chip:
        return CHIPS[self.kind]

    @property
    def size(self) -> int:
        """Devices."""
        return math.prod(self.shape) * (2 if self.kind == "tpu7x" else 1)

    @property
    def is_gpu(self) -> bool:
        return self.chip.axes == 0

    @property
    def host_cores(self) -> int:
        """Processor threads of all hosts."""
        return math.ceil(self.size * self.chip.cores / self.chip.per_host)

    @property
    def network(self) -> float:
        """Bytes per second at which one device can send and receive a collective's data."""
        if self.is_gpu:
            return self.chip.link
        return sum(self.chip.link * (2 if size >= self.chip.ring else 1) for size in self.shape if size > 1)

    @property
    def hops(self) -> int:
        """Hops that a message needs to reach every other device."""
        if self.is_gpu:
            return 1
        return sum(size // 2 if size >= self.chip.ring else size - 1 for size in self.shape)

    def compiler(self) -> str:
        """Name and version of the compiler for this machine.

        Raises:
          MachineError: it is not installed.
        """
        package = "jax-cuda12-plugin" if self.is_gpu else "libtpu"
        try:
            return f"{package} {importlib.metadata.version(package)}"
        except importlib.metadata.PackageNotFoundError as error:
            remedy = (
                f"pip install --no-deps {package}==VERSION jax-cuda12-pjrt==VERSION, with jax's own version"
                if self.is_gpu
                else "pip install 'davs_jax[plan]'"
            )
            raise MachineError(f"planning for {self.name} needs {package}", remedy) from error

    def devices(self) -> list:
        """Descriptions of its devices, to compile for.

        Raises:
          MachineError: the compiler knows no such machine, or is not installed.
        """
        self.compiler()
        from jax.experimental import topologies

        try:
            if self.is_gpu:
                from davs_jax.plan import cuda

                return cuda.devices(self.kind, self.chip.memory, self.chip.bandwidth, self.size)
            return topologies.get_topology_desc(platform="tpu", topology_name=self.name).devices
        except Exception as error:  # each compiler raises its own
            raise MachineError(
                f"{self.name} is not a machine that {self.compiler()} can describe ({first_line(error)})"
            ) from error


def parse(name: str) -> Machine:
    """`v5e:4x4` → the machine.

    Raises:
      MachineError: an unknown kind, or a shape that it cannot have.
    """
    kind, _, shape = name.partition(":")
    if kind not in CHIPS:
        raise MachineError(f"--topology={name}: there is no {kind!r}", f"there are {', '.join(CHIPS)}")
    axes = CHIPS[kind].axes or 1
    example = CURVE[CHIPS[kind].axes][1]
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", shape) or shape.count("x") + 1 != axes:
        raise MachineError(
            f"--topology={name}: a {kind} has {axes} axis or axes of chips", f"an example is {kind}:{example}"
        )
    return Machine(kind, tuple(map(int, shape.split("x"))))


def quiet() -> None:
    """Lets libtpu describe machines without one; to be called before JAX is imported."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_STDERR_LOG_LEVEL", "3")
    os.environ.setdefault("TPU_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
