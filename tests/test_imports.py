"""The structure of the package as docs/architecture.md draws it: imports point down, and libraries have one home."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import davs_jax

PACKAGE = Path(davs_jax.__file__).parent
# From the ground up: a module imports from its own package and from lower floors.
FLOORS = (
    {"constants", "errors", "face_geometry"},
    {"files", "command_line", "user_folders"},
    {"display", "parallel", "systems"},
    {"media", "models"},
    {"data", "provenance", "checkpoint", "monitor", "talker"},
    {"inference", "import_official"},
    {"generate"},
    {"evaluate"},
    {"sync", "training"},
    {"api", "app", "ablations", "plan", "main", "baselines"},
    {"claims"},  # the former name of ablations
)
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
HOMES = {
    "flax.linen": {"models", "baselines"},  # each baseline has networks of its own
    "grain": {"data"},
    "orbax": {"checkpoint"},
    "gradio": {"app"},
    "torch": {"evaluate", "import_official"},  # an extra, imported where it is used
}
MODULES = sorted(PACKAGE.rglob("*.py"))


@functools.cache
def imported(path: Path) -> frozenset[str]:
    """Names of the modules that a file imports, inside functions too, but not for type checkers alone."""
    return frozenset(_imported(ast.parse(path.read_text())))


def _imported(tree: ast.Module) -> Iterator[str]:
    unchecked = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in node.body
    }
    for node in ast.walk(tree):
        if node in unchecked:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{name.name}" for name in node.names)


def room(path: Path) -> str:
    """The package, or the module at the root, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_every_module_has_a_floor():
    assert {room(path) for path in MODULES} - {"__init__"} == set(FLOOR)


@pytest.mark.parametrize("name", sorted(FLOOR))
def test_imports_point_down(name):
    for path in (path for path in MODULES if room(path) == name):
        for module in imported(path):
            package, _, inner = module.partition(".")
            other = inner.partition(".")[0]
            if package == "davs_jax" and other in FLOOR and other != name:
                assert FLOOR[other] < FLOOR[name], f"{path.relative_to(PACKAGE)} imports {module}"


@pytest.mark.parametrize(("library", "homes"), HOMES.items())
def test_a_library_has_its_home(library, homes):
    users = {room(p) for p in MODULES if any(m == library or m.startswith(f"{library}.") for m in imported(p))}
    assert users <= homes


@pytest.mark.parametrize("module", ["davs_jax", "davs_jax.training.step", "davs_jax.media.faces", "davs_jax.errors"])
def test_importing_a_part_does_not_load_the_whole(module):
    heavy = ("tensorflow_datasets", "grain", "orbax", "gradio", "torch", "tensorflow")
    code = f"import sys, {module}; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
