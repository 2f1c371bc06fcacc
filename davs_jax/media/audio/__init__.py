"""Audio features: the paper's MFCC and their windows; SyncNet's MFCC are in `syncnet_features`."""

from davs_jax.media.audio.features import clip_mfcc, frames_of, mfcc, stream_windows, windows

__all__ = ["clip_mfcc", "frames_of", "mfcc", "stream_windows", "windows"]
