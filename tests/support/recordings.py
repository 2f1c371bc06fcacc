"""Real recordings beside the checkout; what needs them skips where they are absent."""

from pathlib import Path

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "data"
