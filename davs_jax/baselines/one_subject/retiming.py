"""Which frame of the target footage each moment of the speech gets (paper, section 4.4): it rests in the pauses."""

import numpy as np

REACH = 12  # frames that the footage may run ahead or behind
MOVING = 1.0  # cost of motion where the speech pauses
REPEAT, SKIP = 0.4, 0.2  # cost of showing a frame twice, of leaving one out


def pace(motion: np.ndarray, paused: np.ndarray) -> np.ndarray:
    """A path through the footage, by dynamic programming.

    Each step goes on by 0, 1 or 2 frames, never twice by 0, and stays within REACH frames of the plain order.

    Args:
      motion: `[M]`, how much the head moves at each frame of the footage; scaled by its mean.
      paused: bool `[N]`, where the speech pauses.

    Returns:
      int `[N]`, indices that never fall, each below M; M ≥ N + REACH.

    Raises:
      ValueError: the footage is too short.
    """
    count, width = len(paused), 2 * REACH + 1
    if len(motion) < count + REACH:
        raise ValueError(f"{len(motion)} frames of footage are fewer than {count + REACH}")
    scaled = motion / max(float(motion.mean()), 1e-9)
    offsets = np.arange(-REACH, REACH + 1)
    cost = np.full((width, 2), np.inf)  # by offset, and whether the last step was a repeat
    cost[REACH, 0] = 0.0  # the first moment shows the first frame
    came = np.zeros((count, width, 2, 2), np.int64)  # offset and kind of the step before
    for moment in range(1, count):
        at = np.clip(moment + offsets, 0, None)
        here = MOVING * scaled[at] * paused[moment] + np.where(moment + offsets < 0, np.inf, 0.0)
        fresh = np.full((width, 2), np.inf)
        for step, price in ((1, 0.0), (2, SKIP), (0, REPEAT)):
            kind = int(step == 0)
            before = np.arange(width) - (step - 1)  # the offset grows by step − 1
            valid = (before >= 0) & (before < width)
            for last in (0, 1):
                if kind and last:
                    continue
                total = np.full(width, np.inf)
                total[valid] = cost[before[valid], last] + price + here[valid]
                better = total < fresh[:, kind]
                fresh[better, kind] = total[better]
                came[moment, better, kind] = np.stack([before[better], np.full(better.sum(), last)], 1)
        cost = fresh
    path = np.zeros(count, np.int64)
    offset, kind = np.unravel_index(int(np.argmin(cost)), cost.shape)
    for moment in range(count - 1, -1, -1):
        path[moment] = moment + offsets[offset]
        offset, kind = came[moment, offset, kind]
    return path
