"""Video and audio streams of files: read, written, remuxed."""

from davs_jax.media.video.read import Clip, Media, probe, read_audio, read_clip, read_frames, read_sound
from davs_jax.media.video.streams import MediaError
from davs_jax.media.video.write import AAC_RATES, Writer, naming

__all__ = [
    "AAC_RATES",
    "Clip",
    "Media",
    "MediaError",
    "Writer",
    "naming",
    "probe",
    "read_audio",
    "read_clip",
    "read_frames",
    "read_sound",
]
