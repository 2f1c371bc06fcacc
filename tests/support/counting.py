"""A source for tests: item n ≥ 0 gives a record; a named item fails in the way of its name, `await FILE` waits."""

import os
import time
from pathlib import Path

from data_prep.plan import Plan
from data_prep.shards import Rejection
from davs_jax.data.records import face_features

PATIENCE = 60  # s


def features(plan):
    return face_features(plan.labels["identity"])


def examples(plan, item):
    if item == "rejected":
        yield Rejection(item, "face", "no face", "leave it out")
    elif item == "crash":
        os._exit(9)
    elif item == "stop":
        raise KeyboardInterrupt
    elif str(item).startswith("await "):
        deadline = time.monotonic() + PATIENCE
        while not Path(item.removeprefix("await ")).exists():
            assert time.monotonic() < deadline, f"after {PATIENCE} s there is still no {item}"
            time.sleep(0.02)
        yield {"face_id": "awaited", "image": b"", "identity": 0}
    elif item != "nothing":
        image = int(item).to_bytes(4, "little") * plan.options["length"]
        yield {"face_id": str(item), "image": image, "identity": item % 2}


def make_plan(items=range(20), *, count=3, length=100) -> Plan:
    items = list(items)
    return Plan(
        dataset="numbers",
        source="support.counting",
        input="in",
        options={"length": length},
        labels={"identity": ["even", "odd"]},
        splits={"train": [items[i::count] for i in range(count)], "val": [[100, 101]]},
    )
