"""Searches for the largest batch that fits, with few compilations."""

from collections.abc import Callable

from davs_jax.plan.compiling import Compiled

FARTHEST = 8  # most times that one try may exceed the one before


def largest(
    compile_for: Callable[[int], Compiled], memory: int, start: int = 1
) -> tuple[int, list[tuple[int, Compiled]]]:
    """The largest number of clips per chip whose step fits, and all tries; 0 if not even one clip fits.

    Memory grows almost linearly with the batch: two compilations give the line, further ones check where it reaches the
    limit, until n fits and n + 1 does not. In a small stage a few clips may need no more memory than one, and the line
    through them is meaningless; so no try is more than FARTHEST times the one before.

    Args:
      compile_for: clips per chip → the compiled step.
      memory: bytes of a chip; replaced by the compiler's limit once it has reported one.
      start: clips per chip of the first try.
    """
    tried: dict[int, Compiled] = {}

    def fits(clips: int) -> bool:
        if clips not in tried:
            tried[clips] = compile_for(clips)
        return tried[clips].fits

    low, high = 0, start
    while fits(high):
        low, high = high, max(high + 1, min(FARTHEST * high, _clips_at_limit(tried, memory)))
    while high - low > 1:
        guess = min(max(_clips_at_limit(tried, memory), low + 1), high - 1)
        low, high = (guess, high) if fits(guess) else (low, guess)
    return low, sorted(tried.items())


def _clips_at_limit(tried: dict[int, Compiled], memory: int) -> int:
    """Clips at which the line through the two largest tries, or through zero and the only one, reaches the limit."""
    limit = max((found.limit for found in tried.values()), default=0) or memory
    if len(tried) == 1:
        ((clips, found),) = tried.items()
        return int(clips * limit / found.peak)
    (first, a), (second, b) = sorted(tried.items())[-2:]
    slope = max((b.peak - a.peak) / (second - first), 1)
    return int(first + (limit - a.peak) // slope)
