"""Lip Movements Generation at a Glance (Chen et al. 2018): 16 frames of the lips from one lip photo and log-mel audio.

    python -m data_prep.lrw --input LRW/lipread_mp4 --output data/lrw128 --image-size 128
    python -m davs_jax.main --config configs/baselines/glance.py:autoencoder --workdir runs/glance/autoencoder
    python -m davs_jax.main --config configs/baselines/glance.py --workdir runs/glance/lips
    python -m davs_jax.generate --checkpoint runs/glance/lips --photo me.jpg --audio speech.wav --output talking.mp4

The lip region is the middle of an aligned face's lower half: 64 px, as published, where faces have 128. Weights, batch,
and optimizer are the published ones; configs/baselines/glance_quickstart.py is the same in small.
"""

from configs import baselines

NETWORKS = ("lip_generator", "lip_discriminator", "flow_encoder", "audio_derivative", "autoencoder")
STAGES = {
    # Learns to rebuild lip images; its features are compared in the perceptual loss.
    "autoencoder": (("autoencoder",), {"reconstruction": 1.0}),
    "lips": (
        ("lip_generator", "flow_encoder", "audio_derivative"),
        {
            "gan": 1.0,  # frames, their optical flow and the audio; real frames with other audio are wrong
            "correlation": 0.5,  # of the audio's derivative with the optical flow of the real frames
            "correlation_fake": 0.0,  # of the generated frames: an option of the authors' code, off
            "perceptual": 1.0,  # squared distance of the autoencoder's features
            "l1": 0.2,  # in −1…1
        },
    ),
}


def get_config(stage: str = "lips"):
    """The config of the stage `autoencoder` or `lips`.

    Raises:
      ValueError: an unknown stage.
    """
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}; Glance has the stages {', '.join(STAGES)}")
    trained, weights = STAGES[stage]
    c = baselines.get_config("glance", NETWORKS, trained, weights, image_size=128)
    c.model.blocks = 9  # residual blocks of the generator
    c.optim.b1 = 0.5
    c.data.clips, c.data.batch_size = "data/lrw128", 24
    c.steps = 20_000 if stage == "autoencoder" else 400_000
    return chained(c, stage, "runs/glance")


def chained(c, stage: str, root: str):
    """The stage `lips` takes its autoencoder from that stage's workdir."""
    if stage == "lips":
        c.init_from, c.init_networks = f"{root}/autoencoder", ("autoencoder",)
    return c
