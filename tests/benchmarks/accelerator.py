"""A table of what this project does on an accelerator: `accelerator.sh --help` says how to run it.

Each part of `accelerator_parts.py` runs in a process of its own, most valuable first, within its own limit and what is
left of all of them. The tables are written after each part, so a run that is cut off keeps what it has measured; a part
that fails or runs over its limit is a row that says so.
"""

import argparse
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

from support.quick_compilation import FLAGS

HERE = Path(__file__).parent
PARTS = {  # and their limits in seconds
    "device": 60,
    "start": 240,  # before the parts that find its compiled step
    "train:recommended:joint:bfloat16:profile": 150,
    "comparable": 150,
    "pytorch:eager": 60,
    "pytorch:compiled": 150,
    "loader": 60,
    "generation": 90,
    "train:published:joint:float32": 150,
    "train:recommended:word:bfloat16": 120,
    "train:recommended:generator:bfloat16": 120,
    "train:recommended:person:bfloat16": 90,
    "train:published:word:float32": 120,
    "train:published:generator:float32": 120,
    "train:published:person:float32": 90,
    "batches:recommended:joint:bfloat16": 300,
}
ON_CPU = ("pytorch", "loader")  # JAX is to leave the accelerator alone
CODE = ("davs_jax/**/*.py", "configs/*.py", "tests/benchmarks/*.py")
LEAST = 5  # seconds below which no part is begun
COLUMNS = ("measurement", "", "s/step", "of matrix rate", "memory", "waiting for data", "remarks")


@dataclasses.dataclass
class Results:
    """The results of all parts, by name, in the files `results.json` and `results.md` of a folder."""

    folder: Path
    about: dict
    parts: dict[str, dict] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path, about: dict) -> "Results":
        """With the parts of an earlier run of the same code that have ended well."""
        found = cls(folder, about)
        if (file := folder / "results.json").exists():
            before = json.loads(file.read_text())
            if before["about"] == about:
                found.parts = {name: part for name, part in before["parts"].items() if part["ended"] == "well"}
        return found

    def write(self) -> None:
        """Both files, whole."""
        for name, text in (
            ("results.json", json.dumps({"about": self.about, "parts": self.parts}, indent=1)),
            ("results.md", self.table()),
        ):
            draft = self.folder / f".{name}"
            draft.write_text(text)
            draft.replace(self.folder / name)

    def table(self) -> str:
        """Markdown."""
        lines = [", ".join(f"{key} {value}" for key, value in self.about.items()), ""]
        lines += ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
        for name in PARTS:
            part = self.parts.get(name, {"rows": [], "ended": "not reached"})
            lines += [shown(row) for row in part["rows"]]
            if part["ended"] != "well":
                lines.append("| " + " | ".join([name, "-", *[""] * (len(COLUMNS) - 3), part["ended"]]) + " |")
        return "\n".join([*lines, *self.fed()]) + "\n"

    def fed(self) -> list[str]:
        """How the loader's rate compares with that of the fastest joint step, where both are known."""
        rows = [
            row for part in self.parts.values() for row in part["rows"] if row["value"] and row["unit"] == "clips/s"
        ]
        read = [row["value"] for row in rows if row["title"].startswith("loader")]
        steps = [row for row in rows if row["title"].startswith("joint") and "PyTorch" not in row["title"]]
        if not read or not steps:
            return []
        fastest = max(steps, key=lambda row: row["value"])
        times, title = read[0] / fastest["value"], fastest["title"]
        return ["", f"The loader reads {times:.2f} × what the fastest joint step needs ({title})."]


def shown(row: dict) -> str:
    """A row of the table."""

    def column(key: str, form: str) -> str:
        return form.format(row[key]) if key in row else ""

    value = "-" if row["value"] is None else f"{row['value']:,.4g} {row['unit']}"
    cells = (
        row["title"],
        value,
        column("seconds", "{:.4f}"),
        column("share", "{:.1%}"),
        column("gib", "{:.1f} GiB"),
        column("waiting", "{:.1%}"),
        row.get("remark", "") + column("share_of_kernels", " ({:.1%} of all)"),
    )
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def run(name: str, folder: Path, limit: float, toy: bool) -> dict:
    """One part: its rows, how it ended, and the seconds that it took."""
    rows, log = folder / "rows.jsonl", folder / f"{name.replace(':', '-')}.log"
    rows.unlink(missing_ok=True)
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache"), "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.92")
    if name == "generation":  # where PyTorch needs memory beside JAX
        environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    if toy:
        environment["XLA_FLAGS"] = f"{FLAGS} {environment.get('XLA_FLAGS', '')}"
    if name.startswith(ON_CPU):
        environment["JAX_PLATFORMS"] = "cpu"
    command = [sys.executable, HERE / "accelerator_parts.py", name, rows, *["--toy"] * toy]
    began = time.perf_counter()
    with log.open("w") as said:
        # A session of its own, so that what the part has started ends with it.
        child = subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)
        try:
            status = child.wait(limit)
            ended = "well" if status == 0 else f"failed: {last_line(log)}"
        except subprocess.TimeoutExpired:
            ended = f"cut off after {limit:.0f} s"
        finally:
            end(child)
    seconds = round(time.perf_counter() - began, 1)
    found = [json.loads(line) for line in rows.read_text().splitlines()] if rows.exists() else []
    return {"ended": ended, "seconds": seconds, "rows": found}


def end(child: subprocess.Popen) -> None:
    """Ends a part and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines() or ["no word"]
    return f"{lines[-1][:160]} ({log.name})"


def version() -> dict[str, str]:
    """The commit, where git knows it, and a hash of the code."""
    root, code = HERE.parents[1], hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in root.glob(pattern)):
        code.update(path.read_bytes())
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=True
        )
        commit = done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    return {"commit": commit, "code": code.hexdigest()[:12]}


def main() -> int:
    parser = argparse.ArgumentParser(prog="accelerator.sh", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("accelerator"), help="folder; default: %(default)s")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts together; default: %(default)s")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--toy", action="store_true", help="sizes for a CPU, which only show that all parts work")
    args = parser.parse_args()
    if missing := absent():
        print(f"not installed, and rows that need them will say so: {', '.join(missing)}", flush=True)
    deadline = time.monotonic() + 60 * args.minutes
    args.output.mkdir(parents=True, exist_ok=True)
    folder = args.output.resolve()
    results = Results.of(folder, {**version(), "Python": sys.version.split()[0], "toy": args.toy})
    if "start" not in results.parts and "start" in args.parts:
        shutil.rmtree(folder / "cache", ignore_errors=True)  # a cold start finds nothing
    for number, name in enumerate(args.parts, start=1):
        left = deadline - time.monotonic()
        if name in results.parts or left < LEAST:
            continue
        print(f"[{number}/{len(args.parts)}] {name}, {left:.0f} s left …", flush=True)
        results.parts[name] = run(name, folder, left if args.toy else min(PARTS[name], left), args.toy)
        results.write()
        for row in results.parts[name]["rows"]:
            print(f"  {shown(row)}", flush=True)
        print(f"  {results.parts[name]['ended']}, {results.parts[name]['seconds']} s", flush=True)
    results.write()
    print(f"\n{results.table()}\n{folder / 'results.json'}, {folder / 'results.md'}")
    return any(results.parts.get(name, {"ended": ""})["ended"] != "well" for name in args.parts)


def absent() -> list[str]:
    """The project's dependencies, and PyTorch, as far as they are not installed."""
    names = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]["dependencies"]
    return [name for name in (*(name.partition("[")[0] for name in names), "torch") if not installed(name)]


def installed(name: str) -> bool:
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
