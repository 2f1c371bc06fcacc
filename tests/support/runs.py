"""What a training run wrote, and waiting for one that runs in another process."""

import json
import time


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
