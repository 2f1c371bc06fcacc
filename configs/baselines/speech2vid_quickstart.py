"""Speech2Vid on the quickstart's synthetic corpus: minutes on two CPU cores.

python -m davs_jax.main --config configs/baselines/speech2vid_quickstart.py:face --workdir runs/quickstart/s2v/face
python -m davs_jax.main --config configs/baselines/speech2vid_quickstart.py --workdir runs/quickstart/s2v/deblur
"""

from configs import baselines
from configs.baselines import speech2vid

STEPS = {"face": 4_000, "deblur": 400}


def get_config(stage: str = "deblur"):
    c = baselines.small(speech2vid.get_config(stage), "data/quickstart/clips")
    c.steps = STEPS[stage]
    return speech2vid.chained(c, stage, "runs/quickstart/s2v")
