"""What a model hears through other microphones and noise: words read from audio, and known shifts of the audio found.

    python tests/benchmarks/channels.py runs/quickstart/word data/quickstart/clips [--split test]

Every clip's audio comes through a random channel (davs_jax/data/channel.py) of growing strength; 0 is the recording
itself. Prints a line for each strength. Words are counted where the weights know them.
"""

import argparse
import zlib

import numpy as np

from davs_jax import inference
from davs_jax.data.channel import through_channel
from davs_jax.data.pipeline import eval_batches
from davs_jax.data.sources import open_clips
from davs_jax.errors import DataError
from davs_jax.evaluate import recognition
from davs_jax.evaluate.context import BATCH

STRENGTHS = (0.0, 0.35, 0.7, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", help="a run with both word encoders")
    parser.add_argument("clips", help="folder of clip shards")
    parser.add_argument("--split", default="test", help="default: %(default)s")
    args = parser.parse_args()
    model = inference.load(args.checkpoint)
    try:
        source, known = open_clips(args.clips, args.split, tuple(model.config.words)), True
    except DataError:  # words that the weights do not know
        source, known = open_clips(args.clips, args.split), False

    def windows(record: dict, strength: float) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(bytes(record["clip_id"])))
        return model.clip_audio(through_channel(record, rng, strength))

    print(f"{len(source)} clips of split {args.split}")
    for strength in STRENGTHS:
        batches = eval_batches(source, BATCH, audio=lambda record, strength=strength: windows(record, strength))
        vectors = recognition.encode(model, batches, every_frame=True)
        line = f"channel {strength:.2f}: "
        if known and model.has("word_classifier"):
            read = recognition.logits(model, vectors)["audio"].argmax(1) == vectors.word
            line += f"words {100 * read.mean():.1f} %, "
        found = recognition.synchronisation(vectors, 0)
        print(line + f"shifts within a frame {100 * found.within_1.accuracy:.1f} %")


if __name__ == "__main__":
    main()
