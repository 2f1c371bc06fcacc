"""Audio files of any codec, container and layout."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_tracks(
    path: Path, tracks: list[np.ndarray], codec: str, rate: int, layout: str, options: dict | None = None, **coder
) -> Path:
    """Writes float tracks `[C, N]` or `[N]` into one file; a mono track fills every channel.

    Args:
      options: of the container.
      coder: attributes of the codec, such as its bit_rate.
    """
    with av.open(f"file:{path}", "w", options=options or {}) as container:
        streams = [container.add_stream(codec, rate=rate, layout=layout) for _ in tracks]
        for stream, samples in zip(streams, tracks, strict=True):
            for name, value in coder.items():
                setattr(stream.codec_context, name, value)
            width = stream.codec_context.layout.nb_channels
            samples = np.broadcast_to(np.atleast_2d(samples), (width, np.shape(samples)[-1]))
            packed = np.ascontiguousarray(samples.T.reshape(1, -1), np.float32)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def write_audio(path: Path, samples: np.ndarray, codec: str, rate: int = 16_000, layout: str = "mono", **options):
    """`write_tracks` of one track."""
    return write_tracks(path, [samples], codec, rate, layout, **options)
