"""Media files: read as frames and audio, written as mp4, GIF or PNG files, remuxed."""

from davs_jax.media.video.read import Media, probe, read_audio, read_audio_blocks, read_clip, read_frames
from davs_jax.media.video.tracks import Track, choose
from davs_jax.media.video.write import Writer

__all__ = ["Media", "Track", "Writer", "choose", "probe", "read_audio", "read_audio_blocks", "read_clip", "read_frames"]
