import json

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from davs_jax.monitor.monitor import DELAY, Monitor, NotFiniteError


@pytest.fixture
def monitor(tmp_path):
    monitor = Monitor(tmp_path, first=0, last=10, clips=4)
    yield monitor
    monitor.close()


def take(monitor, step, **metrics):
    with monitor.waiting():
        pass
    monitor.step(step, {name.replace("__", "/"): jnp.float32(value) for name, value in metrics.items()})


def events(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_an_event_holds_the_means_since_the_last_and_the_throughput(monitor, tmp_path):
    for step, loss in ((1, 4.0), (2, 2.0), (3, 1.0)):
        take(monitor, step, loss__total=loss)
        if step > 1:
            monitor.log(step)
    first, second = events(tmp_path)
    assert (first["step"], first["loss/total"]) == (2, 3.0)
    assert (second["step"], second["loss/total"]) == (3, 1.0)
    assert first["time/clips_per_second"] == pytest.approx(4 * first["time/steps_per_second"])
    assert 0 <= first["time/waiting_for_data"] <= 1


def test_validation_metrics_are_an_event_of_their_own(monitor, tmp_path):
    monitor.scalars(5, {"video_accuracy": 0.25})
    assert events(tmp_path) == [{"step": 5, "video_accuracy": 0.25}]
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_non_finite_metric_is_named_with_its_step(monitor, value):
    take(monitor, 1, loss__total=1.0, loss__l1_audio=1.0)
    take(monitor, 2, loss__total=1.0, loss__l1_audio=value)
    with pytest.raises(NotFiniteError, match=rf"step 2: loss/l1_audio is {value}; stopped before saving"):
        monitor.settle()


def test_a_non_finite_metric_stops_the_run_within_the_stated_delay(monitor):
    take(monitor, 1, loss__total=float("nan"))
    for step in range(2, 1 + DELAY):
        take(monitor, step, loss__total=1.0)
    with pytest.raises(NotFiniteError, match="step 1: loss/total is nan"):
        take(monitor, 1 + DELAY, loss__total=1.0)


def test_resuming_removes_the_events_after_the_checkpoint(tmp_path):
    lines = [json.dumps({"step": step, "loss/total": 1.0}) + "\n" for step in (2, 4, 6)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines) + '{"step": 7, "loss')  # killed while it wrote
    monitor = Monitor(tmp_path, first=4, last=10, clips=4)
    take(monitor, 5, loss__total=2.0)
    monitor.log(5)
    monitor.close()
    assert [event["step"] for event in events(tmp_path)] == [2, 4, 5]


def test_images_are_written_as_png(monitor, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    monitor.image(3, "generated", image)
    written = cv2.imread(str(tmp_path / "images" / "generated_00000003.png"), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(written, image)


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr("jax.process_index", lambda: 1)
    monitor = Monitor(tmp_path, first=0, last=10, clips=4)
    take(monitor, 1, loss__total=1.0)
    monitor.log(1)
    monitor.image(1, "generated", np.zeros((4, 4, 3), np.uint8))
    monitor.close()
    assert not list(tmp_path.iterdir())
