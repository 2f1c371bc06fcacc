"""The advice to use large pages: given where it helps, and nowhere else."""

import os

import pytest

from davs_jax.parallel import large_pages

GIVEN = {"always": "[always] madvise never", "on request": "always [madvise] never", "never": "always madvise [never]"}


@pytest.fixture
def advice(tmp_path, monkeypatch):
    """A function: the advice where the kernel gives large pages so, by this C library, with this environment."""

    def make(given: str, library: str = "glibc 2.36", setting: str = "") -> str:
        (tmp_path / "enabled").write_text(GIVEN[given] + "\n")
        monkeypatch.setattr(os, "confstr", lambda name: library, raising=False)
        monkeypatch.setenv(large_pages.VARIABLE, setting)
        return large_pages.advice(tmp_path / "enabled")

    return make


def test_the_setting_is_named_where_the_kernel_waits_for_a_request(advice):
    assert "GLIBC_TUNABLES=glibc.malloc.hugetlb=1" in advice("on request")
    assert advice("on request", setting="glibc.malloc.arena_max=2")


@pytest.mark.parametrize(
    "case",
    [
        {"given": "always"},
        {"given": "never"},
        {"given": "on request", "setting": "glibc.malloc.hugetlb=1"},
        {"given": "on request", "library": "glibc 2.31"},
        {"given": "on request", "library": "musl"},
    ],
    ids=str,
)
def test_nothing_is_said_where_the_setting_is_there_or_changes_nothing(advice, case):
    assert advice(**case) == ""


def test_nothing_is_said_on_systems_without_such_pages(tmp_path, monkeypatch):
    monkeypatch.delenv(large_pages.VARIABLE, raising=False)
    assert large_pages.advice(tmp_path / "absent") == ""
