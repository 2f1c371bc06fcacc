"""Reads the metrics of a training run, and waits for a run in another process."""

import json
import time

# A run that receives three batches and then waits for the fourth.
STALLING = """
import itertools, json, sys, time
from ml_collections import ConfigDict
from davs_jax.data import pipeline
from davs_jax.training import loop
batches = pipeline.train_batches

def stalling(*arguments):
    yield from itertools.islice(batches(*arguments), 3)
    time.sleep(600)

pipeline.train_batches = stalling
loop.train(ConfigDict(json.load(open(sys.argv[1]))), sys.argv[2])
"""


def events(workdir, *prefixes):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    wanted = ("step", *prefixes)
    return [{k: v for k, v in json.loads(line).items() if k.startswith(wanted)} for line in lines]


def wait_for(found, process, seconds=240):
    """Waits until `found()` is true; fails when the process ends before that."""
    end = time.monotonic() + seconds
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "took too long"
        time.sleep(0.01)
