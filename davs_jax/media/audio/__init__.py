"""Audio features: the paper's MFCC and their windows; SyncNet's MFCC are in `syncnet_features`."""

from davs_jax.media.audio.features import as_int16, clip_mfcc, frames_of, mfcc, stream_windows, windows

__all__ = ["as_int16", "clip_mfcc", "frames_of", "mfcc", "stream_windows", "windows"]
