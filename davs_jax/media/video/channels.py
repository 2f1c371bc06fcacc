"""Mixes the channels of audio to mono."""

import functools

import av
import numpy as np

# Of ITU-R BS.775: the share of a channel in the mix, before the shares are scaled to add up to 1.
SHARES = {"FC": 1.0, "FL": 0.5**0.5, "FR": 0.5**0.5, "LFE": 0.0, "LFE2": 0.0}
OTHERS = 0.5


def weights(layout: av.AudioLayout) -> np.ndarray:
    """The weights of the channels in the mix, float32 `[C]`; they add up to 1, so equal channels keep their level."""
    return _weights(tuple(channel.name for channel in layout.channels))


def separate(frame: av.AudioFrame) -> np.ndarray:
    """The samples of a frame of packed float, float32 `[C, N]`."""
    return frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T


def mono(frame: av.AudioFrame, channel: int | None = None) -> np.ndarray:
    """A frame of packed float as mono, float32 `[N]`: one of its channels, or their mix.

    Args:
      channel: from 0; None, or one that the frame lacks, is the mix.
    """
    samples = separate(frame)
    if channel is not None and channel < len(samples):
        return samples[channel]
    return samples[0] if len(samples) == 1 else weights(frame.layout) @ samples


@functools.cache
def _weights(names: tuple[str, ...]) -> np.ndarray:
    shares = np.array([SHARES.get(name, OTHERS) for name in names])
    return (shares / shares.sum() if shares.any() else np.full(len(names), 1 / len(names))).astype(np.float32)
