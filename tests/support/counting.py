"""A source for tests: item n ≥ 0 gives a record; the named ones fail in the way of their name."""

import hashlib
import os

from data_prep.plan import Plan
from data_prep.shards import Rejection
from davs_jax.data.records import face_features


def features(plan):
    return face_features(plan.labels["identity"])


def examples(plan, item):
    if item == "rejected":
        yield Rejection(item, "face", "no face", "leave it out")
    elif item == "crash":
        os._exit(9)
    elif item == "stop":
        raise KeyboardInterrupt
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


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
