"""Benchmarks that no other test runs, at their smallest sizes."""

import importlib
import sys

import pytest

from davs_jax import inference
from support.tiny_model import random_model


def run(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    importlib.import_module(name).main()


@pytest.mark.parametrize(
    "name, arguments, tells",
    [
        ("reading", ["--clips=8", "--threads=1"], "joint stage"),
        ("mfcc", ["--seconds=3"], "real time"),
        ("retrieval", ["--clips=40"], "median rank"),
    ],
)
def test_a_benchmark_measures_at_a_small_size(name, arguments, tells, monkeypatch, capsys):
    run(monkeypatch, name, *arguments)
    assert tells in capsys.readouterr().out


def test_other_microphones_are_heard_as_the_weights_hear(joint_config, clips_folder, monkeypatch, capsys):
    joint_config.model.spectrum = "log_mel"  # not what records hold
    monkeypatch.setattr(inference, "load", lambda checkpoint: random_model(joint_config))
    run(monkeypatch, "channels", "checkpoint", clips_folder)
    assert "channel 1.00: words" in capsys.readouterr().out
