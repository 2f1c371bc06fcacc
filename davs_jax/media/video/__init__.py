"""Media files: read as frames and audio, written as mp4, GIF or PNG files, remuxed."""

from davs_jax.media.video.read import Clip, Media, probe, read_audio, read_audio_blocks, read_clip, read_frames
from davs_jax.media.video.remux import shift_audio
from davs_jax.media.video.sinks import Sink, check_name, open_sink
from davs_jax.media.video.streams import resampled
from davs_jax.media.video.write import AAC_RATES, Writer, media_errors

__all__ = [
    "AAC_RATES",
    "Clip",
    "Media",
    "Sink",
    "Writer",
    "check_name",
    "media_errors",
    "open_sink",
    "probe",
    "read_audio",
    "read_audio_blocks",
    "read_clip",
    "read_frames",
    "resampled",
    "shift_audio",
]
