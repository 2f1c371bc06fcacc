"""Weights, statistics and one batch as pure functions of names: two programs make the same ones and share no file.

Numbers come from the raw bits of NumPy's Philox, keyed by a hash of the name, so that they depend neither on
NumPy's version nor on the order of the calls. Tensors have the official layout (PyTorch's, channels first).
"""

import hashlib
import math

import numpy as np

CLIPS, CLIP_FRAMES, SIZE = 2, 25, 256  # frames 2…26 of an LRW clip, as the official loader gives them
# The official code draws these: the parity run fixes them (`Gen_final_v1.py`, `set_input` and `forward`).
IDENTITY, START, ADVERSARY_START, GENERATE_START = 7, 1, 3, 3
SOFTNESS = 0.05  # of the discriminators' labels: the middle of the official 0…0.1
# Official options that the recorded training step sets otherwise than published. Clips are half as long, so that a
# test has the time; the weights and rates are such that no term's gradient hides the others'.
WORD_FRAMES, ADVERSARY_FRAMES, GENERATED_FRAMES = 6, 4, 2
L1_WEIGHT, MOUTH_WEIGHT, LEARNING_RATE = 0.04, 0.08, 2e-5
NORM_BIAS = 1.5  # of the step's weights; see `state_dict`

# Last layers: tanh must not be saturated, and the gradients of the losses should be of one order of magnitude.
_GAINS = {
    "Decoder.conv7_2.weight": 0.3,
    "netD.fc2.weight": 0.1,
    "netD_mul.fc2.weight": 0.1,
    "ID_lip_discriminator.fc_2.weight": 0.3,
    "model_fusion.fc_2.weight": 0.3,
    "discriminator_audio.fc2.weight": 0.3,
}


def noise(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float64 `shape`, independent, uniform, of mean 0 and variance 1; the same for a name on every machine."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    bits = np.random.Philox(key=key).random_raw(math.prod(shape))
    return (((bits >> np.uint64(11)) * 2.0**-53 - 0.5) * math.sqrt(12)).reshape(shape)


def state_dict(network: str, shapes: dict[str, list[int]], norm_bias: float = 0.0) -> dict[str, np.ndarray]:
    """All tensors of one official network, float32.

    Kernels have the standard deviation gain / √(fan in), where fan in is the product of all axes but the first; a
    norm's scale is 1 ± 0.1, biases and running means are 0 ± 0.1, and running variances lie in 0.5…1.5.

    The training step raises the norms' biases, so that nine tenths of the values pass the rectifier that follows.
    Were it half of them, many would lie at its edge, and the rounding of float32 would change these deep networks'
    gradients by several percent. Of the person encoder's two branches only one is raised, for the same reason: the
    edge is where they are equal.
    """
    tensors = {key: _tensor(network, key, tuple(shape)) for key, shape in shapes.items()}
    for key in shapes:
        norm = key.removesuffix(".running_mean")
        if norm != key and not norm.endswith("_b_bn"):
            tensors[f"{norm}.bias"] += np.float32(norm_bias)
    return tensors


def _tensor(network: str, key: str, shape: tuple[int, ...]) -> np.ndarray:
    values = noise(f"{network}.{key}", shape)
    kind = key.rpartition(".")[2]
    if kind == "running_var":
        values = 1 + values / math.sqrt(12)
    elif kind in ("bias", "running_mean"):
        values = 0.1 * values
    elif len(shape) == 1:
        values = 1 + 0.1 * values
    else:
        values = _gain(network, key) * values / math.sqrt(math.prod(shape[1:]))
    return values.astype(np.float32)


def _gain(network: str, key: str) -> float:
    """Such that with these running statistics a signal neither dies nor grows much from layer to layer."""
    # The person encoder loses nothing in rectifiers: it has none.
    return _GAINS.get(f"{network}.{key}", 1.0 if network == "ID_encoder" else 1.25)


def clips() -> dict[str, np.ndarray]:
    """Two clips: `frames` uint8 `[2, 25, 256, 256, 3]`, `mfcc` float32 `[2, 25, 20, 12]`, `word` int32 `[2]`.

    A clip is a pattern of blocks of its own, each frame has one more, and every pixel a little noise.
    """

    def blocks(name: str, frames: int, side: int) -> np.ndarray:
        grid = noise(name, (CLIPS, frames, SIZE // side, SIZE // side, 3))
        return grid.repeat(side, 2).repeat(side, 3)

    texture = 40 * blocks("clip", 1, 32) + 20 * blocks("frame", CLIP_FRAMES, 16) + 5 * blocks("pixel", CLIP_FRAMES, 1)
    return {
        "frames": np.clip(np.round(127 + texture), 0, 255).astype(np.uint8),
        "mfcc": (3 * noise("mfcc", (CLIPS, CLIP_FRAMES, 20, 12))).astype(np.float32),
        "word": np.array([17, 402], np.int32),
    }


def training_batch() -> dict[str, np.ndarray]:
    """The clips cut with the fixed choices, as the training step takes them (`docs/architecture.md`)."""
    clip = clips()
    word_frames = slice(START, START + 2 * WORD_FRAMES, 2)
    return {
        "frames": clip["frames"][:, word_frames],
        "speech": clip["mfcc"][:, word_frames],
        "word": clip["word"],
        "generate_start": np.full(CLIPS, GENERATE_START, np.int32),
        "identity_frame": clip["frames"][:, IDENTITY],
        "adversary_frames": clip["frames"][:, ADVERSARY_START : ADVERSARY_START + ADVERSARY_FRAMES],
    }


def summary(name: str, array: np.ndarray) -> dict:
    """What the recorded numbers keep of an array: mean, standard deviation, norm, and 16 values at places by name."""
    flat = np.asarray(array, np.float64).ravel()
    places = (noise(f"places {name}", (16,)) / math.sqrt(12) + 0.5) * flat.size
    return {
        "shape": list(np.shape(array)),
        "mean": float(flat.mean()),
        "std": float(flat.std()),
        "norm": float(np.linalg.norm(flat)),
        "values": [float(v) for v in flat[places.astype(int)]],
    }


def signature(network: str, key: str, array: np.ndarray) -> list[float]:
    """Norm of a tensor in the official layout, and its inner product with a unit vector seeded by name.

    The norm alone would not see two axes exchanged or a kernel mirrored; the product does.
    """
    flat = np.asarray(array, np.float64).ravel()
    direction = noise(f"direction {network}.{key}", flat.shape)
    return [float(np.linalg.norm(flat)), float(flat @ direction / np.linalg.norm(direction))]
