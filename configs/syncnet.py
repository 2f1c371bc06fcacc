"""SyncNet, trained on our own records: matches 0.2 s of a face with its audio, without labels.

    python -m davs_jax.main --config configs/syncnet.py --workdir runs/syncnet              # LRW
    python -m davs_jax.main --config configs/syncnet.py:quickstart --workdir runs/quickstart/syncnet
    python -m davs_jax.evaluate --checkpoint runs/quickstart/joint --syncnet runs/quickstart/syncnet --data …

It sees the lower part of aligned faces at their own resolution, not whole images enlarged to 224 px as the published
network does. It is valid only for videos that resemble its training data; scores comparable with published ones need
the released weights. tests/benchmarks/known_shifts.py measures how many known shifts it finds (docs/results.md). A clip
has 24 windows, so a batch needs few clips.
"""

from configs import common, quickstart


def get_config(corpus: str = "lrw"):
    """`lrw`: with the published number of channels; `quickstart`: with a quarter of them, on the synthetic corpus.

    Raises:
      ValueError: an unknown corpus.
    """
    if corpus not in ("lrw", "quickstart"):
        raise ValueError(f"unknown corpus {corpus!r}; there are lrw and quickstart")
    c = common.get_config("syncnet")
    c.model.sync_size = 192
    c.data.clips, c.data.batch_size, c.steps = "data/lrw", 8, 50_000
    c.optim.update(learning_rate=1e-3, schedule="cosine", warmup_steps=20)
    if corpus == "quickstart":
        c.model.update(quickstart.get_config("word").model)
        c.model.sync_size = 48
        c.data.clips, c.steps = "data/quickstart/clips", 400
        c.data.color_jitter = 0.1
        c.log.every, c.checkpoint.every = 10, 100
    c.log.images_every = 0
    return c
