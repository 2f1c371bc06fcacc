"""Worker processes for tasks of many items, whose bar counts every item as soon as it is done."""

import concurrent.futures
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import cv2
from tqdm import tqdm

from davs_jax.errors import DavsError

log = logging.getLogger(__name__)
INTERVAL = 0.5  # s between two looks at the workers' counts


class WorkerError(DavsError):
    """A worker process died."""


def run(task: Callable[..., None], arguments: Sequence[Any], workers: int, bar: tqdm) -> None:
    """Calls `task(argument, on_item=...)` for every argument, in `workers` processes (in this one, if that is 1).

    Where processes cannot share memory (/dev/shm is absent or read-only), this one does the work alone.

    Args:
      task: picklable; it calls `on_item()` after each of its items, which moves the bar by one.

    Raises:
      WorkerError: a worker process died.
    """
    context = multiprocessing.get_context("spawn")
    if workers == 1 or not _shares_memory(context):
        for argument in arguments:
            task(argument, on_item=bar.update)
    elif arguments:
        _run_in_processes(task, arguments, min(workers, len(arguments)), context, bar)


def _shares_memory(context) -> bool:
    try:
        context.Lock(), context.RawArray("q", 1)
    except OSError as error:
        log.warning("processes cannot share memory (%s), so one process does the work; mount /dev/shm", error.strerror)
        return False
    return True


def _run_in_processes(task: Callable[..., None], arguments: Sequence[Any], workers: int, context, bar: tqdm) -> None:
    # One entry per task, written by one process only: no lock, which a killed worker would hold for ever.
    counts = context.RawArray("q", len(arguments))
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (counts,))
    bar.set_postfix_str(f"starting {workers} processes")
    try:
        futures = {pool.submit(_run_task, task, place, argument) for place, argument in enumerate(arguments)}
        while futures:
            finished, futures = concurrent.futures.wait(futures, INTERVAL, concurrent.futures.FIRST_COMPLETED)
            if done := sum(counts):
                bar.set_postfix_str("", refresh=False)
            bar.update(bar.initial + done - bar.n)
            for future in finished:
                future.result()
    except BrokenProcessPool as error:
        raise WorkerError(
            "a worker process died, perhaps for lack of memory",
            "what is finished is kept: run the same command again, with fewer --workers",
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(counts) -> None:
    """Runs first in each worker process."""
    global _counts
    _counts = counts
    cv2.setNumThreads(1)  # the processes share the cores already
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches every process; only the main one reports it
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this worker when the main process is killed."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _run_task(task: Callable[..., None], place: int, argument: Any) -> None:
    def count() -> None:
        _counts[place] += 1

    task(argument, on_item=count)
