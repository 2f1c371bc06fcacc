"""The whole recipe at small scale, as `make quickstart` runs it: minutes on two CPU cores.

    python -m davs_jax.main --config configs/quickstart.py:word --workdir runs/quickstart/word

`configs/synthetic.py` with fewer people and steps. The stages are word and person, generator, joint.
"""

from configs import common, synthetic

STEPS = {"person": 150, "word": 300, "generator": 700, "joint": 24}


def get_config(stage: str = "joint"):
    c = synthetic.get_config(stage)
    c.steps = STEPS[stage]
    c.model.num_identities = 48
    c.data.clips = "data/quickstart/clips"
    c.data.faces = "data/quickstart/faces"
    c.data.batch_size = 8
    c.data.face_batch_size = 32 if stage == "person" else 8
    c.optim.warmup_steps = 20
    common.chain(c, stage, "runs/quickstart")
    c.log.every = 10
    c.log.images_every = 100 if c.loss.l1 else 0
    c.log.eval_every = 150 if c.loss.word_ce else 0
    c.checkpoint.every = 200
    return c
