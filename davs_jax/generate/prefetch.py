"""Pipelining: an iterator that runs ahead in a thread, and the time that each stage takes."""

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """Yields the same items, produced by a thread that is up to `depth` items ahead.

    An exception in the thread is raised here, after the items before it. Closing the iterator, or collecting it as
    garbage, stops the thread at its next item and waits for that.
    """
    ready: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()

    def put(kind: str, value=None) -> bool:
        while not stopped.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                pass
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
            put("end")
        except BaseException as error:
            put("error", error)

    thread = threading.Thread(target=work, daemon=True, name="ahead")
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        stopped.set()
        thread.join()  # a thread that is inside JAX when the process ends would crash it


class Stages:
    """Seconds spent in each named stage of a pipeline, in any thread."""

    def __init__(self):
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def spent(self, name: str) -> Iterator[None]:
        """Counts the time inside the block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - began

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yields the same items; counts the time that producing them takes."""
        items = iter(items)
        while True:
            with self.spent(name):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def __str__(self) -> str:
        """Shares of the sum, which overlap in time: `decode 5 %, network 80 %, …`."""
        total = sum(self.seconds.values()) or 1.0
        return ", ".join(f"{name} {100 * seconds / total:.0f} %" for name, seconds in self.seconds.items())
