"""Compiled training steps, kept on disk whole, so that a later start neither traces nor lowers nor compiles its step.

JAX's own cache of compiled programs is asked with the lowered program, and tracing and lowering take most of a second
start. Here a step is found by what its program depends on: its fingerprint (`davs_jax.training.fingerprint`), the
devices, the platform's version, the processor of a CPU, JAX's settings and XLA's flags.

Reading such a file runs code that it holds. So it lies in the folder of JAX's cache, in a folder of its own that only
the user may write, and is read only if the file and this folder belong to the user. It is bound to its key by a
checksum. A file that cannot be used is reported in one line, and the step is compiled.
"""

import contextlib
import hashlib
import json
import os
import pickle
import platform
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
from jax.experimental import serialize_executable
from jax.sharding import Mesh

from davs_jax.errors import first_line
from davs_jax.files import replacing
from davs_jax.parallel import processes

FOLDER = "steps"  # in the folder of JAX's cache
KEPT = 16  # files; of others the one that was used least recently goes first
FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")  # environment variables that change programs
UNRELATED = ("cache", "visible_devices", "address", "log", "traceback", "timeout")  # in names of JAX's settings

Say = Callable[[str], None]


class Unusable(Exception):
    """A kept step that must not, or cannot, be used."""


def begin_reading(fingerprint: str, mesh: Mesh, say: Say) -> Callable[[], jax.stages.Compiled | None]:
    """Begins to read the kept step for these devices in a thread, beside what else a start has to do.

    Args:
      fingerprint: of the step.
      say: prints a line, for a file that cannot be used.

    Returns:
      a function that waits for the step; it returns None where there is none, or not every process of the job can use
      it. Every process must call it.
    """
    file = _file(fingerprint, mesh)
    thread = ThreadPoolExecutor(1)
    reading = thread.submit(_read, file, mesh, say) if file and file.exists() else None
    thread.shutdown(wait=False)

    def finish() -> jax.stages.Compiled | None:
        found = reading.result() if reading else None
        return found if processes.everywhere(found is not None) else None  # all must run one program

    return finish


def write(fingerprint: str, mesh: Mesh, compiled: jax.stages.Compiled, say: Say) -> None:
    """Keeps a compiled step, by process 0 for all; where that fails, says so in one line."""
    if not (file := _file(fingerprint, mesh)) or jax.process_index():
        return
    try:
        content = pickle.dumps(serialize_executable.serialize(compiled))
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(file) as draft:
            draft.touch(0o600)
            draft.write_bytes(_checksum(file, content) + content)
        _remove_least_recent(file.parent)
    except Exception as error:  # a backend that cannot, a full disk: the run goes on
        say(f"the compiled step is not kept in {file.parent}: {first_line(error)}")


def _file(fingerprint: str, mesh: Mesh) -> Path | None:
    """None where JAX keeps no compiled programs, or not in a local folder."""
    folder = jax.config.jax_compilation_cache_dir
    return None if not folder or "://" in folder else Path(folder) / FOLDER / f"{_key(fingerprint, mesh)}.step"


def _key(fingerprint: str, mesh: Mesh) -> str:
    devices = list(mesh.devices.flat)
    client = devices[0].client
    settings = {
        name: repr(value) for name, value in jax.config.values.items() if not any(word in name for word in UNRELATED)
    }
    parts = [
        fingerprint,
        dict(mesh.shape),
        [(device.id, device.process_index, device.device_kind) for device in devices],
        client.platform,
        client.platform_version,
        _processor() if client.platform == "cpu" else "",
        settings,
        [os.environ.get(name, "") for name in FLAGS],
        platform.python_version(),  # of the pickle
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _processor() -> str:
    """The kind of this machine's processor, for which XLA generates code."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    return f"{platform.machine()} {platform.processor()}"


def _read(file: Path, mesh: Mesh, say: Say) -> jax.stages.Compiled | None:
    """The step in a file; None, and a line, where it cannot be used."""
    try:
        found = _load(file, mesh)
        os.utime(file)  # used just now
        return found
    except Exception as error:  # damaged machine code has no error of its own
        say(f"{file}: this kept step is not used: {first_line(error)}")
        return None


def _load(file: Path, mesh: Mesh) -> jax.stages.Compiled:
    """Loads a file, after it is known to be this user's and whole.

    Raises:
      Unusable, OSError: it is neither; loading raises further errors.
    """
    _check_owner(file.parent, file.parent.stat())
    with file.open("rb") as opened:
        _check_owner(file, os.fstat(opened.fileno()))
        content = opened.read()
    size = hashlib.sha256().digest_size
    if content[:size] != _checksum(file, content[size:]):
        raise Unusable("it is damaged, or was made for another step")
    serialized, inputs, outputs = pickle.loads(content[size:])
    devices = list(mesh.devices.flat)
    return serialize_executable.deserialize_and_load(
        serialized, inputs, outputs, backend=devices[0].client, execution_devices=devices
    )


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise Unusable(f"others than this user may write {path}")


def _checksum(file: Path, content: bytes) -> bytes:
    """Of the key and the content: a renamed file does not pass for another step."""
    return hashlib.sha256(file.stem.encode() + content).digest()


def _remove_least_recent(folder: Path) -> None:
    files = sorted(folder.glob("*.step"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[KEPT:]:
        file.unlink(missing_ok=True)
