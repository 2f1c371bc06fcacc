"""The largest batch that fits, by as few compilations as it can be had."""

from collections.abc import Callable

from davs_jax.plan.compiling import Compiled

FARTHEST = 8


def largest(
    compile_for: Callable[[int], Compiled], memory: int, start: int = 1
) -> tuple[int, list[tuple[int, Compiled]]]:
    """The largest number of clips a chip whose step fits, and all that was tried; 0 where one does not fit.

    Memory grows almost evenly with the batch: two compilations give the line, further ones check where it meets the
    memory, until n fits and n + 1 does not. A small stage's few clips may take no more than one, and their line would
    lead anywhere: so no try is more than FARTHEST times the last.

    Args:
      compile_for: clips a chip → the compiled step.
      memory: bytes of a chip; of no account once the compiler has said what it allows.
      start: clips a chip of the first try.
    """
    tried: dict[int, Compiled] = {}

    def fits(clips: int) -> bool:
        if clips not in tried:
            tried[clips] = compile_for(clips)
        return tried[clips].fits

    low, high = 0, start
    while fits(high):
        low, high = high, max(high + 1, min(FARTHEST * high, _meets(tried, memory)))
    while high - low > 1:
        guess = min(max(_meets(tried, memory), low + 1), high - 1)
        low, high = (guess, high) if fits(guess) else (low, guess)
    return low, sorted(tried.items())


def _meets(tried: dict[int, Compiled], memory: int) -> int:
    """Where the line through the two largest tries, or zero and the only one, meets the memory, in clips."""
    limit = max((found.limit for found in tried.values()), default=0) or memory
    if len(tried) == 1:
        ((clips, found),) = tried.items()
        return int(clips * limit / found.peak)
    (first, a), (second, b) = sorted(tried.items())[-2:]
    slope = max((b.peak - a.peak) / (second - first), 1)
    return int(first + (limit - a.peak) // slope)
