"""Audio features: the paper's MFCC and their windows; SyncNet's MFCC are in `syncnet_features`."""

from davs_jax.media.audio.features import (
    WINDOWS,
    Window,
    as_int16,
    cepstrum,
    clip_mfcc,
    frames_of,
    log_mel,
    mfcc,
    stream_windows,
    windows,
)

__all__ = [
    "WINDOWS",
    "Window",
    "as_int16",
    "cepstrum",
    "clip_mfcc",
    "frames_of",
    "log_mel",
    "mfcc",
    "stream_windows",
    "windows",
]
