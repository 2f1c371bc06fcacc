import types

from davs_jax.ablations import measure


def test_persons_are_not_asked_for_where_one_has_most_of_the_clips(monkeypatch):
    weights = types.SimpleNamespace(has=lambda *networks: False)
    found = {"accuracy": 1.0, "mlp": {"accuracy": 1.0}}
    probes = {"word_from_pid": found | {"chance": 0.1}, "person_from_pid": found | {"chance": 0.125}}
    probes["person_from_video_wid"] = found | {"chance": 0.9}
    monkeypatch.setattr(measure, "eval_batches", lambda source, size: [])
    monkeypatch.setattr(measure.recognition, "encode", lambda *args, **kwargs: None)
    monkeypatch.setattr(measure.recognition, "probes", lambda *args: (probes, {}))
    asked = {f"probe/{name}{kind}" for name in ("word_from_pid", "person_from_pid") for kind in ("", "_mlp")}
    assert set(measure.measure(weights, None)) == asked
