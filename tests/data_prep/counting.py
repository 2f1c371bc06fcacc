"""A source for tests: item n ≥ 0 gives a record; the named ones fail in the way of their name."""

import os

from data_prep.shards import Rejection
from davs_jax.records import face_features


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
