"""Large pages for a CPU's memory.

XLA gives the memory of every step back to the system and takes new memory for the next. Linux hands that out in pages
of 4 KiB, each with an interrupt: a quarter of a training step's time on a CPU. glibc asks for pages of 2 MiB if an
environment variable tells it to before the process starts.
"""

import os
from pathlib import Path

VARIABLE, SETTING = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")  # the choice in use stands in brackets
GLIBC = (2, 35)  # the first that knows the setting


def advice(kernel: Path = KERNEL) -> str:
    """How to make training quicker here; "" where large pages are asked for already, or cannot be."""
    if "hugetlb" in os.environ.get(VARIABLE, "") or not _known() or not _on_request(kernel):
        return ""
    return f"training is about a quarter quicker on this CPU with {VARIABLE}={SETTING} (docs/performance.md)"


def _known() -> bool:
    """Whether this process runs on a glibc that knows the setting."""
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
        return name == "glibc" and tuple(map(int, version.split(".")[:2])) >= GLIBC
    except (AttributeError, OSError, ValueError):  # another C library, another system
        return False


def _on_request(kernel: Path) -> bool:
    """Whether the kernel gives large pages to those who ask, and to nobody else."""
    try:
        return "[madvise]" in kernel.read_text()
    except OSError:
        return False
