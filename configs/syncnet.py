"""SyncNet, trained on our own records: matches 0.2 s of a face with its audio, without labels.

    python -m davs_jax.main --config configs/syncnet.py --workdir runs/syncnet              # LRW, at the official size
    python -m davs_jax.main --config configs/syncnet.py:quickstart --workdir runs/quickstart/syncnet
    python -m davs_jax.evaluate --checkpoint runs/quickstart/joint --syncnet runs/quickstart/syncnet --data …

It is valid only for videos that resemble its training data; scores comparable with published ones need the released
weights. The quickstart form finds a known shift to within one frame for half of the clips of unseen people
(docs/results.md); tests/benchmarks/known_shifts.py measures yours. A clip has 24 windows, so a batch needs
few clips.
"""

from configs import common, quickstart


def get_config(corpus: str = "lrw"):
    """`lrw`: at the published size; `quickstart`: with a quarter of the channels, on the synthetic corpus.

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
        # The 735 inputs of a kernel come from enlarged, hence smooth, images: their gradients agree, Adam moves all
        # weights the same way, and one step would change the layer's output by more than its initial magnitude.
        c.optim.multipliers = {"syncnet/face/conv1": 0.02}
        c.log.every, c.checkpoint.every = 10, 50
    c.log.images_every = 0
    return c
