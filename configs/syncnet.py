"""SyncNet from our own records: which sound goes with which 0.2 s of a face, learnt without labels.

    python -m davs_jax.main --config configs/syncnet.py --workdir runs/syncnet              # LRW, the official sizes
    python -m davs_jax.main --config configs/syncnet.py:quickstart --workdir runs/quickstart/syncnet
    python -m davs_jax.evaluate --checkpoint runs/quickstart/joint --syncnet runs/quickstart/syncnet --data …

It judges only what resembles its records; scores to compare with published ones need the released weights. The
quickstart form finds a known shift within a frame for every second clip of unseen people (docs/results.md):
measure yours with tests/benchmarks/known_shifts.py. A clip gives 24 windows, so few clips make a batch.
"""

from configs import common, quickstart


def get_config(corpus: str = "lrw"):
    """`lrw`, at the published size, or `quickstart`, with a quarter of the channels on the embedded corpus.

    Raises:
      ValueError: an unknown corpus.
    """
    if corpus not in ("lrw", "quickstart"):
        raise ValueError(f"unknown corpus {corpus!r}; there are lrw and quickstart")
    c = common.get_config("syncnet")
    c.data.clips, c.data.batch_size, c.steps = "data/lrw", 8, 50_000
    if corpus == "quickstart":
        c.model.update(quickstart.get_config("word").model)
        c.data.clips, c.data.batch_size, c.steps = "data/quickstart/clips", 3, 150
        c.optim.update(learning_rate=1e-3, schedule="cosine", warmup_steps=20)
        # 735 inputs of a picture as smooth as one that was enlarged: their gradients agree, Adam moves all of them the
        # same way, and each step would change what leaves this layer by more than its start had been.
        c.optim.multipliers = {"syncnet/face/conv1": 0.02}
        c.log.every, c.checkpoint.every = 10, 50
    c.log.images_every = 0
    return c
