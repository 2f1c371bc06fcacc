"""One run per workdir: `run.lock` names the process that writes there.

Three rules say whether the process that a lock names has ended; the first that applies decides:

* The kernel's lock on the file (flock). Its holder is alive. A process of this machine that locked the file through
  this mount and no longer holds it has ended: the kernel releases the locks of killed processes, in any container.
* Without such locks (buckets, some network file systems), on this machine and in this pid namespace: the process is
  alive if its id still belongs to a process with the same start time.
* Else (another machine or mount): a lock that was not renewed for AGE seconds is stale. Its holder renews it every
  BEAT seconds. The clocks of the machines must agree to within a minute.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator

import jax
from etils import epath

from davs_jax.checkpoint.export import writing
from davs_jax.errors import CheckpointError
from davs_jax.parallel import processes

FILE = "run.lock"
BEAT = 15  # seconds between renewals
AGE = 90  # seconds without renewal after which the lock of another machine is stale
SETTLE = 2  # seconds after which two processes that write a lock at the same time, without flock, see the same one
SIZE = 1024  # bytes of the file: always the same, so that a renewal replaces all of it in one write


@dataclasses.dataclass(frozen=True)
class Holder:
    """The process that a lock names.

    Attributes:
      run: random; no two starts have the same.
      host, pid: name and process id, for people; ids repeat from one container to the next.
      boot: id of the machine's current boot; the same in all its containers.
      namespace: the pid namespace; None where the system does not tell.
      started: start of the process, in clock ticks since the boot; None where the system does not tell.
      device: of the mount through which the file was locked (flock); None where it has no such locks.
      since, renewed: start and last renewal of the lock, seconds since the epoch.
    """

    run: str
    host: str
    pid: int
    boot: str
    namespace: int | None
    started: str | None
    device: int | None
    since: float
    renewed: float


@contextlib.contextmanager
def held(workdir: epath.Path) -> Iterator[Callable[[], None]]:
    """Holds a workdir for this job; every process makes the same call, process 0 holds the lock for all.

    Yields a function that releases the workdir early, for a process that ends without leaving this context. A run that
    finds its lock taken over by another ends the process at once.

    Raises:
      CheckpointError: another run holds the workdir, in which nothing was touched; or it cannot be written. All
        processes of the job raise the same.
    """
    lock, refusal = None, ""
    if jax.process_index() == 0:
        try:
            lock = _Lock(workdir)
        except CheckpointError as error:
            refusal = str(error)
    release = lock.release if lock else lambda: None
    with processes.together(release):
        refusal = processes.told(refusal)
    if refusal:
        raise CheckpointError(refusal)
    try:
        yield release
    finally:
        release()


class _Lock:
    """The lock of process 0, renewed by a thread until it is released."""

    def __init__(self, workdir: epath.Path):
        self._workdir, self._file = workdir, workdir / FILE
        self._in_bucket = "://" in str(workdir)
        self._makes_folder = not self._in_bucket and not workdir.exists()
        self._descriptor: int | None = None
        self._released = threading.Event()
        try:
            self._take()
        except CheckpointError:
            self._close()
            raise
        self._thread = threading.Thread(target=self._renew, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        with writing(self._workdir):
            if not self._in_bucket:
                self._workdir.mkdir(parents=True, exist_ok=True)
            free = self._lock_in_kernel()
            found = self._read()
        self._own = _this_process(os.fstat(self._descriptor).st_dev if free else None)
        if free is False:
            down = found and found.boot != self._own.boot and _silence(found) > AGE
            raise self._refusal(found, f"; if that host is down, delete {self._file}" if down else "")
        if found and not _is_gone(found, self._own):
            left = AGE - _silence(found)
            expires = f"; if it was killed, its lock expires in {left:.0f} s" if left > 0 else ""
            raise self._refusal(found, "" if _is_visible(found, self._own) else expires)
        with writing(self._workdir):
            self._write()
            if free is None:
                time.sleep(SETTLE)
            written = self._read()
        if written and written.run != self._own.run:
            raise self._refusal(written, "")
        if found:
            print(f"{self._workdir}: taken over from {_told(found)}; that run is gone", flush=True)

    def _lock_in_kernel(self) -> bool | None:
        """Whether the file's lock (flock) is now ours; None where the file system has none."""
        while not self._in_bucket:
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                return False if isinstance(error, BlockingIOError) else None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(self._file)):
                    self._descriptor = descriptor
                    return True
            os.close(descriptor)  # its holder has deleted the file in the meantime
        return None

    def _read(self) -> Holder | None:
        """Who the file names. Where another process may be writing it, what cannot be read is read again."""
        for _ in range(5 if self._descriptor is None else 1):
            try:
                text = self._file.read_text()
            except FileNotFoundError:
                return None
            with contextlib.suppress(ValueError, TypeError, KeyError):
                values = json.loads(text)
                return Holder(**{field.name: values[field.name] for field in dataclasses.fields(Holder)})
            time.sleep(0.1)
        return None

    def _write(self) -> None:
        now = dataclasses.replace(self._own, renewed=time.time())
        text = json.dumps(dataclasses.asdict(now)).ljust(SIZE)
        if self._descriptor is None:
            self._file.write_text(text)
        else:
            os.pwrite(self._descriptor, text.encode(), 0)

    def _renew(self) -> None:
        while not self._released.wait(BEAT):
            with contextlib.suppress(Exception):  # a full disk, a network that is down: the next time may succeed
                found = self._read()
                if found and found.run != self._own.run:
                    processes.end(
                        f"{self._workdir} was taken over by {_told(found)}, because this run did not renew its lock "
                        f"for {AGE} s or the lock was deleted; this run ends, and writes nothing more"
                    )
                if not self._released.is_set():
                    self._write()

    def _refusal(self, holder: Holder | None, more: str) -> CheckpointError:
        who = _told(holder) if holder else "another run, which has just started"
        return CheckpointError(
            f"{self._workdir} is in use by {who}", f"stop that run and try again, or name another --workdir{more}"
        )

    def release(self) -> None:
        """Deletes the lock, and the folder too where this run made it and left it empty."""
        if self._released.is_set():
            return
        self._released.set()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=BEAT)  # a renewal that is under way would bring the file back
        with contextlib.suppress(Exception):  # else it expires
            if (found := self._read()) and found.run == self._own.run:
                self._file.unlink()
            if self._makes_folder:
                os.rmdir(self._workdir)
        self._close()

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _is_gone(holder: Holder, own: Holder) -> bool:
    """Whether a process that does not hold the kernel's lock has ended."""
    if holder.boot == own.boot and own.device is not None and holder.device == own.device:
        return True
    if _is_visible(holder, own):
        return _started(holder.pid) != holder.started
    return _silence(holder) > AGE


def _is_visible(holder: Holder, own: Holder) -> bool:
    """Whether this process would see the other among the processes of its machine."""
    return holder.boot == own.boot and own.namespace is not None and holder.namespace == own.namespace


def _silence(holder: Holder) -> float:
    return time.time() - holder.renewed


def _told(holder: Holder) -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(holder.since))
    return (
        f"process {holder.pid} on {holder.host} (since {since}, last sign of life {max(_silence(holder), 0):.0f} s ago)"
    )


def _this_process(device: int | None) -> Holder:
    now = time.time()
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:  # not Linux
        boot, namespace = socket.gethostname(), None
    run, pid = uuid.uuid4().hex, os.getpid()
    return Holder(run, socket.gethostname(), pid, boot, namespace, _started(pid), device, now, now)


def _started(pid: int) -> str | None:
    """Start of a process, in clock ticks since the boot (field 22 of proc(5)'s stat); None where it has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            state, *rest = file.read().rpartition(")")[2].split()  # the name before it may hold spaces
    except OSError:
        return None
    return None if state in "ZX" else rest[18]
