"""Contact sheets and plots, as arrays or PNG bytes."""

import io
import json
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

GAP = 2  # pixels of white between the images of a sheet
COLUMNS = 4  # of small plots
NAMED = 30  # words; the axes of a larger confusion plot have no names
LETTERS = 30  # per line of a small plot's title
SUBPIXEL = 4  # fractional bits of a point's position
HIDDEN = ("gradient_norm/", "time/", "goodput/")  # groups of logged metrics that a report leaves out


def sheet(rows: Sequence[Sequence[np.ndarray]], side: int = 96) -> np.ndarray:
    """Images uint8 `[H, W, 3]` in rows, each enlarged to a height of at least `side` pixels → uint8 `[h, w, 3]`.

    Rows may differ in length; shorter ones are filled with white.
    """
    scale = max(1, math.ceil(side / rows[0][0].shape[0]))
    lines = []
    for row in rows:
        line = [cv2.resize(p, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for p in row]
        lines.append(np.concatenate([np.pad(p, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for p in line], 1))
    width = max(line.shape[1] for line in lines)
    padded = [np.pad(v, ((0, 0), (0, width - v.shape[1]), (0, 0)), constant_values=255) for v in lines]
    return np.concatenate(padded)


def named(text: str, size: int) -> np.ndarray:
    """A white square uint8 `[size, size, 3]` with a line of text: a caption among the images of a sheet."""
    square = np.full((size, size, 3), 255, np.uint8)
    cv2.putText(
        square, text, (size // 20, size // 2), cv2.FONT_HERSHEY_SIMPLEX, size / 200, (80, 80, 80), 1, cv2.LINE_AA
    )
    return square


def marked(image: np.ndarray, points: np.ndarray, side: int = 160) -> np.ndarray:
    """A square image uint8 `[S, S, 3]` with its points `[N, 2]`, resized to a side of `side` pixels."""
    size = image.shape[0]
    smooth = cv2.INTER_AREA if size > side else cv2.INTER_CUBIC
    result = cv2.resize(image, (side, side), interpolation=smooth)
    for x, y in (np.asarray(points) + 0.5) * side / size - 0.5:
        place = round(x * 2**SUBPIXEL), round(y * 2**SUBPIXEL)
        for radius, color in ((3, (0, 0, 0)), (2, (90, 255, 120))):  # the rim makes it visible on bright skin
            cv2.circle(result, place, radius << SUBPIXEL, color, -1, cv2.LINE_AA, SUBPIXEL)
    return result


def numbered(image: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
    """An image uint8 `[H, W, 3]` with boxes (left, top, width, height), numbered from 1."""
    result, thick = image.copy(), max(1, round(max(image.shape) / 400))
    for number, (left, top, width, height) in enumerate(np.asarray(boxes).round().astype(int).tolist(), start=1):
        for color, rim in (((0, 0, 0), 2 * thick), ((90, 255, 120), thick)):  # the rim makes it visible on any image
            cv2.rectangle(result, (left, top), (left + width, top + height), color, rim)
            place = (left + 2 * thick, max(top - 4 * thick, 12 * thick))
            cv2.putText(result, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, 0.5 * thick, color, rim, cv2.LINE_AA)
    return result


def png(image: np.ndarray) -> bytes:
    """uint8 RGB `[H, W, 3]` → PNG file."""
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def training(path: Path) -> bytes | None:
    """The curves of a run's metrics.jsonl (one JSON object per logged step) → PNG; None where it holds no metrics."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for line in path.read_text().splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue  # the last line, of a run that was killed while writing
        for name, value in event.items():
            if name != "step" and isinstance(value, int | float) and not name.startswith(HIDDEN):
                curves.setdefault(name, []).append((event["step"], value))
    if not curves:
        return None
    rows = math.ceil(len(curves) / COLUMNS)
    figure = Figure(figsize=(12, 2.1 * rows), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for axes, name in zip(grid, sorted(curves), strict=False):
        alone = {"marker": "o", "markersize": 4} if len(curves[name]) == 1 else {}
        axes.plot(*zip(*curves[name], strict=True), color="#3056d3", linewidth=1.2, **alone)
        _plain(axes, "\n".join(textwrap.wrap(name.replace("_", " "), LETTERS)))
    for axes in grid[len(curves) :]:
        axes.axis("off")
    return _encoded(figure)


def openings(curves: Sequence[dict[str, np.ndarray]]) -> bytes:
    """Mouth opening by frame: one plot per clip, of its named curves `[T]`, each minus its mean → PNG."""
    figure = Figure(figsize=(12, 2.9), layout="constrained")
    styles = {
        "true": ("the truth", "#1d2330", 2.2),
        "audio": ("from audio", "#3056d3", 1.4),
        "video": ("from video", "#d97706", 1.4),
        "shuffled": ("from the wrong audio", "#98a2b3", 1),
    }
    grid = figure.subplots(1, len(curves), sharey=True, squeeze=False).flatten()
    for i, (axes, clip) in enumerate(zip(grid, curves, strict=True)):
        for name, (label, color, width) in styles.items():
            if name in clip:
                axes.plot(clip[name] - clip[name].mean(), label=label, color=color, linewidth=width)
        _plain(axes, f"clip {i + 1}")
        axes.set_xlabel("frame", fontsize=8)
    grid[0].set_ylabel("opening minus its mean", fontsize=8)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=9, frameon=False)
    return _encoded(figure)


def confusions(counts: dict[str, np.ndarray], names: Sequence[str]) -> bytes:
    """Confusion counts `[words, words]` (row: said, column: read), one plot per name → PNG.

    Rows are divided by their number of clips; the axes name up to NAMED words.
    """
    figure, size = Figure(figsize=(12, 4.6), layout="constrained"), 8 if len(names) <= NAMED / 2 else 6
    for axes, (name, table) in zip(figure.subplots(1, len(counts), squeeze=False)[0], counts.items(), strict=True):
        shares = table / np.maximum(table.sum(1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axes.set_title(f"from {name}", fontsize=11, loc="left")
        axes.set_xlabel("read", fontsize=9)
        axes.set_ylabel("said", fontsize=9)
        ticks = range(len(names)) if len(names) <= NAMED else ()
        axes.set_xticks(ticks, [names[i] for i in ticks], rotation=90, fontsize=size)
        axes.set_yticks(ticks, [names[i] for i in ticks], fontsize=size)
    return _encoded(figure)


def histograms(bars: dict[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """One plot per title, of its (edges `[N + 1]`, heights `[N]`) → PNG; unevenly spaced edges get a log scale."""
    rows = math.ceil(len(bars) / COLUMNS)
    figure = Figure(figsize=(12, 2.3 * rows), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for axes, (title, (edges, heights)) in zip(grid, bars.items(), strict=False):
        axes.stairs(heights, edges, fill=True, color="#3056d3")
        if not np.allclose(np.diff(edges), edges[1] - edges[0]):
            axes.set_xscale("log")
            ticks = np.geomspace(edges[0], edges[-1], 5)
            axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
            axes.set_xticks((), minor=True)
        _plain(axes, title)
    for axes in grid[len(bars) :]:
        axes.axis("off")
    return _encoded(figure)


def seeds(figures: dict[str, dict[str, Sequence[float]]]) -> bytes:
    """One plot per title, with a row per arm: a dot for every seed's value and a bar at their mean → PNG.

    All titles have the same arms; an arm without values stays empty. A title that ends in % gets the axis 0 … 100.
    """
    arms = list(next(iter(figures.values())))
    rows = math.ceil(len(figures) / COLUMNS)
    figure = Figure(figsize=(12, rows * (1.1 + 0.24 * len(arms))), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True).flatten()
    for axes, (title, by_arm) in zip(grid, figures.items(), strict=False):
        for place, values in enumerate(by_arm.values()):
            axes.plot(values, [place] * len(values), "o", color="#3056d3", alpha=0.6, markersize=5)
            axes.vlines(values and [np.mean(values)], place - 0.3, place + 0.3, color="#1d2330", linewidth=1.5)
        axes.set_yticks(range(len(arms)), arms)
        axes.set_ylim(len(arms) - 0.5, -0.5)
        if title.endswith("%"):
            axes.set_xlim(-4, 104)
        _plain(axes, textwrap.fill(title, 32))
    for axes in grid[len(figures) :]:
        axes.axis("off")
    return _encoded(figure)


def scatter(
    figures: dict[str, dict[str, Sequence[tuple[float, float]]]], x: str, y: str, guess: float | None = None
) -> bytes:
    """One plot per title, of every arm's shares (x, y) in percent: a dot for every seed → PNG.

    Args:
      figures: by title and arm.
      x, y: names of the axes.
      guess: the share y of one who guesses, as a line.
    """
    figure = Figure(figsize=(12, 5), layout="constrained")
    arms = dict.fromkeys(arm for by_arm in figures.values() for arm in by_arm)
    colors = {arm: f"C{number % 10}" for number, arm in enumerate(arms)}
    named = {}
    for axes, (title, by_arm) in zip(figure.subplots(1, len(figures), squeeze=False)[0], figures.items(), strict=True):
        for arm, points in by_arm.items():
            marker = "osD^v"[list(arms).index(arm) // 10 % 5]  # ten colours, then another shape
            (named[arm],) = axes.plot(*zip(*points, strict=True), marker, color=colors[arm], alpha=0.7, markersize=5)
        if guess is not None:
            named["guessing"] = axes.axhline(guess, color="0.6", linestyle="--", linewidth=1)
        axes.set_xlim(-4, 104)
        axes.set_ylim(-4, 104)
        axes.set_xlabel(x, fontsize=8)
        axes.set_ylabel(y, fontsize=8)
        _plain(axes, title)
    figure.legend(named.values(), named.keys(), loc="outside right upper", fontsize=8, frameon=False)
    return _encoded(figure)


def _plain(axes, title: str) -> None:
    axes.set_title(title, fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _encoded(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()
