"""pyproject.toml and constraints.txt against what the code imports."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

import configs

ROOT = Path(configs.__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BASE = PROJECT["dependencies"]
EXTRAS = [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]


def normal(name: str) -> str:
    """A distribution's name as pip compares it, without version and extras."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name).group()).lower()


def imported(path: Path) -> set[str]:
    """Third-party modules that the files below a folder import."""
    names = set()
    for file in path.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - {"davs_jax", "data_prep", "configs"} - sys.stdlib_module_names


@pytest.mark.parametrize("package", ["davs_jax", "data_prep", "configs"])
def test_every_imported_package_is_declared(package):
    providers = importlib.metadata.packages_distributions()
    declared = {normal(requirement) for requirement in BASE + EXTRAS}
    undeclared = {
        name
        for name in imported(ROOT / package)
        if not {normal(d) for d in [*providers.get(name, []), name]} & declared
    }
    assert not undeclared


def test_every_declared_package_is_imported():
    providers = importlib.metadata.packages_distributions()
    used = imported(ROOT / "davs_jax") | imported(ROOT / "data_prep") | imported(ROOT / "configs")
    distributions = {normal(distribution) for name in used for distribution in providers.get(name, [])}
    assert {normal(requirement) for requirement in BASE} <= distributions


def test_every_base_package_has_a_tested_version():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = {normal(line) for line in lines if line and not line.startswith("#")}
    assert {normal(requirement) for requirement in BASE} <= tested
