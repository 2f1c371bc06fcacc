"""Audio features: MFCC as the official code computes them, and SyncNet's."""

from davs_jax.media.audio.features import clip_mfcc, frames_of, mfcc, stream_windows, windows

__all__ = ["clip_mfcc", "frames_of", "mfcc", "stream_windows", "windows"]
