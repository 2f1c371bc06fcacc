"""You said that? / Speech2Vid (Chung et al. 2017): L1 alone, then a second network that sharpens the frames.

    python -m data_prep.lrw --input LRW/lipread_mp4 --output data/lrw128 --image-size 128
    python -m davs_jax.main --config configs/baselines/speech2vid.py:face --workdir runs/speech2vid/face
    python -m davs_jax.main --config configs/baselines/speech2vid.py --workdir runs/speech2vid/deblur
    python -m davs_jax.generate --checkpoint runs/speech2vid/deblur --photo me.jpg --audio speech.wav --output a.mp4

The second stage's run holds all networks. The stage `face` generates too, without sharpening. The published images have
112 px; ours are those of the shards, and networks scale with them. Learning rate and batch are DAVS's: the
authors' training code was not released. configs/baselines/speech2vid_quickstart.py is the same in small.
"""

from configs import baselines

FACE = ("identity_encoder", "speech_encoder", "face_decoder")
NETWORKS = (*FACE, "deblurring")
STAGES = {"face": (FACE, {"l1": 1.0}), "deblur": (("deblurring",), {"deblur": 1.0})}


def get_config(stage: str = "deblur"):
    """The config of the stage `face` or `deblur`.

    Raises:
      ValueError: an unknown stage.
    """
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}; Speech2Vid has the stages {', '.join(STAGES)}")
    trained, weights = STAGES[stage]
    c = baselines.get_config("speech2vid", NETWORKS, trained, weights, image_size=128)
    c.model.stills = 5  # images of the person, stacked on channels; in generation, one photo stands for all
    c.data.clips = "data/lrw128"
    c.steps = 600_000 if stage == "face" else 50_000
    return chained(c, stage, "runs/speech2vid")


def chained(c, stage: str, root: str):
    """The stage `deblur` starts from the workdir of `face`."""
    if stage == "deblur":
        c.init_from, c.init_networks = f"{root}/face", FACE
    return c
