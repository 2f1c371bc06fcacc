"""Writes mp4 files: H.264 with AAC audio."""

from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace

from davs_jax.constants import FPS, SAMPLE_RATE
from davs_jax.errors import MediaError

AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz


class Writer:
    """Writes an mp4 (H.264 and AAC) that plays everywhere; frames are encoded as they come.

        with Writer("out.mp4", samples=speech, metadata={"comment": "generated"}) as writer:
            for frame in frames:
                writer.write(frame)

    The size is the first frame's; an odd side grows by one pixel, which H.264's 4:2:0 needs. The audio starts with the
    first frame and is cut, or padded with silence, to end with the last. An exception in the block (Ctrl-C too) still
    finishes the file, so that the frames written so far play.

    Args:
      path: the mp4 to write; its folder must exist.
      fps: frames per second.
      samples: float32 `[N]` in −1…1, mono, or an iterable of blocks, taken as needed; None for a file without audio.
      sample_rate: of the samples, Hz; one of AAC_RATES.
      metadata: container tags, e.g. title, comment; any name is allowed.
      preset: of x264, time against size.
      threads: of x264; 0 is one per core. The bytes depend on it.

    Raises:
      MediaError: the file cannot be written, or the block ended without a frame.
      ValueError: the sample rate is not one of AAC's, or a frame differs from the first in size.
    """

    def __init__(
        self,
        path: str | Path,
        fps: int = FPS,
        samples: np.ndarray | Iterable[np.ndarray] | None = None,
        sample_rate: int = SAMPLE_RATE,
        metadata: Mapping[str, str] | None = None,
        preset: str = "veryfast",
        threads: int = 0,
    ):
        if sample_rate not in AAC_RATES:
            raise ValueError(f"AAC has no sample rate of {sample_rate} Hz; resample to one of {AAC_RATES}")
        self.path = Path(path)
        self.fps = fps
        self._sample_rate = sample_rate
        self._blocks = iter([samples] if isinstance(samples, np.ndarray) else samples or [])
        self._held = np.zeros(0, np.float32)  # samples taken, not encoded yet
        self._frames = self._sent = 0  # frames written, samples encoded
        self._shape = None
        options = {"movflags": "faststart+use_metadata_tags"}
        with media_errors(self.path, "written"):
            self.path.open("wb").close()  # av.open notices an impossible path only at the first frame
            self._container = av.open(f"file:{self.path}", "w", format="mp4", options=options)
        self._container.metadata.update(metadata or {})
        self._video = self._container.add_stream("libx264", rate=fps, options={"preset": preset, "crf": "18"})
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.thread_count = threads
        self._video.codec_context.colorspace = Colorspace.SMPTE170M  # what the conversion from RGB makes
        self._audio = None
        if samples is not None:
            coder = {"aac_coder": "fast"}  # the default takes as long as the video
            self._audio = self._container.add_stream("aac", rate=sample_rate, layout="mono", options=coder)
            self._audio.bit_rate = min(128_000, 6 * sample_rate)

    def __enter__(self) -> "Writer":
        return self

    def write(self, frame: np.ndarray) -> None:
        """Appends uint8 RGB `[H, W, 3]`."""
        if self._shape is None:
            self._shape = frame.shape
            self._video.height, self._video.width = (side + side % 2 for side in frame.shape[:2])
        if frame.shape != self._shape:
            raise ValueError(f"{self.path}: frame {self._frames} is {frame.shape}, the first is {self._shape}")
        even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        coded = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        coded.pts, coded.time_base = self._frames, Fraction(1, self.fps)
        with media_errors(self.path, "written"):
            self._container.mux(self._video.encode(coded))
            self._frames += 1
            self._send_audio(round(self._frames / self.fps * self._sample_rate))

    def __exit__(self, kind, error, traceback) -> None:
        with media_errors(self.path, "finished"):
            if self._frames:
                self._container.mux(self._video.encode(None))
                if self._audio:
                    self._container.mux(self._audio.encode(None))
            self._container.close()
        if not self._frames:
            self.path.unlink(missing_ok=True)
            if kind is None:
                raise no_frame(self.path)

    def _send_audio(self, end: int) -> None:
        if self._audio is None:
            return
        count = end - self._sent
        while len(self._held) < count and (block := next(self._blocks, None)) is not None:
            self._held = np.concatenate([self._held, block.astype(np.float32)])
        samples, self._held = self._held[:count], self._held[count:]
        samples = np.pad(samples, (0, count - len(samples)))
        coded = av.AudioFrame.from_ndarray(samples[None].clip(-1, 1), format="flt", layout="mono")
        coded.sample_rate, coded.time_base = self._sample_rate, Fraction(1, self._sample_rate)
        coded.pts = self._sent
        self._container.mux(self._audio.encode(coded))
        self._sent = end


@contextmanager
def media_errors(path: str | Path, done: str):
    """Within the block an error of PyAV or the disk becomes a MediaError: `path` cannot be `done`."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or "unknown error"
        raise MediaError(f"{path}: cannot be {done} ({reason.lower()})", "check its folder and disk") from error


def no_frame(path: str | Path) -> MediaError:
    """The error of a writer that was closed before its first frame."""
    return MediaError(f"{path}: no frame was written to it", "give a source that has frames")
