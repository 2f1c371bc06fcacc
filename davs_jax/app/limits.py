"""The limits of the page."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of one request."""

    upload_mb: int = 100  # of one file
    seconds: int = 120  # of a result
    queue: int = 8  # requests that may wait; the next one is refused
    keep: int = 3600  # s that files are kept
    request_mb: int | None = None  # of all files of one request; None is upload_mb

    @property
    def request_bytes(self) -> int:
        return (self.request_mb or self.upload_mb) * 2**20
