"""The picture of a tuning: a line for one number, a heat map for two, a row for each point else. Equal content gives equal bytes."""

from collections.abc import Sequence

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from workflow_scripts.look.plots import STYLE, encoded

BEST, CONFIGURED, SEED = "tab:red", "tab:blue", "0.6"


def grid_picture(
    title: str, keys: Sequence[str], points: Sequence[tuple], mious: np.ndarray, configured: Sequence[bool]
) -> bytes:
    """PNG of how mIoU depends on the varied values; the best point and the configured one are marked.

    Args:
        title: above the picture.
        keys: what is varied.
        points: the values of each point, one for each key; numbers, or text where a value is a list or a name.
        mious: (P, S) percent, a column for each seed.
        configured: which points are as the configuration has them.
    """
    with matplotlib.style.context(STYLE):
        if len(keys) == 1:
            figure = _line(keys[0], [value for (value,) in points], mious, configured)
        elif len(keys) == 2:
            figure = _heat_map(keys, points, mious, configured)
        else:
            figure = _rows(keys, points, mious, configured)
        figure.suptitle(title, fontsize=11)
        return encoded(figure)


def _line(key: str, values: list, mious: np.ndarray, configured: Sequence[bool]) -> Figure:
    figure = Figure((7.0, 4.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    places = np.array(values if numbers else range(len(values)), float)
    order, means = np.argsort(places, kind="stable"), mious.mean(axis=1)
    if mious.shape[1] > 1:
        for number, seed in enumerate(mious.T):
            label = None if number else "a seed"
            axes.plot(places[order], seed[order], ".-", color=SEED, linewidth=0.8, markersize=4, label=label)
    axes.plot(places[order], means[order], "o-" if numbers else "o", color="0.15", linewidth=1.8, markersize=4)
    best = int(means.argmax())
    axes.plot(
        places[best], means[best], "o", color=BEST, markersize=9, label=f"best: {values[best]}, {means[best]:.2f} %"
    )
    for number in map(int, np.flatnonzero(configured)):
        label = f"configured: {values[number]}, {means[number]:.2f} %"
        axes.axvline(places[number], color=CONFIGURED, linestyle="--", linewidth=1.2, label=label)
    if not numbers:
        axes.set_xticks(places, list(map(str, values)), rotation=20)
    axes.set(xlabel=key, ylabel="mIoU, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def _heat_map(keys: Sequence[str], points: Sequence[tuple], mious: np.ndarray, configured: Sequence[bool]) -> Figure:
    rows, columns = (list(dict.fromkeys(point[axis] for point in points)) for axis in (0, 1))
    means = mious.mean(axis=1)
    grid = np.full((len(rows), len(columns)), np.nan)
    places = [(rows.index(row), columns.index(column)) for row, column in points]
    for place, mean in zip(places, means, strict=True):
        grid[place] = mean
    figure = Figure((2.2 + 0.85 * max(4, len(columns)), 1.6 + 0.5 * max(4, len(rows))), dpi=110, layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(grid, cmap="viridis", aspect="auto")
    middle = (np.nanmin(grid) + np.nanmax(grid)) / 2
    for (row, column), mean in zip(places, means, strict=True):
        axes.text(
            column,
            row,
            f"{mean:.2f}",
            ha="center",
            va="center",
            color="white" if mean < middle else "black",
            fontsize=9,
        )
    _frame(axes, places[int(means.argmax())], BEST, "-", "best")
    for number in map(int, np.flatnonzero(configured)):
        _frame(axes, places[number], CONFIGURED, "--", "configured")
    axes.set_yticks(range(len(rows)), list(map(str, rows)))
    axes.set_xticks(range(len(columns)), list(map(str, columns)))
    axes.set(ylabel=keys[0], xlabel=keys[1])
    figure.colorbar(image, ax=axes, label="mIoU, %")
    figure.legend(loc="outside lower center", ncols=2, fontsize=9)
    return figure


def _frame(axes, place: tuple[int, int], colour: str, line: str, label: str) -> None:
    row, column = place
    inset = 0.42 if line == "--" else 0.48  # both are seen where they are one point
    frame = Rectangle((column - inset, row - inset), 2 * inset, 2 * inset, fill=False, color=colour, linestyle=line)
    frame.set(linewidth=2.2, label=label)
    axes.add_patch(frame)


def _rows(keys: Sequence[str], points: Sequence[tuple], mious: np.ndarray, configured: Sequence[bool]) -> Figure:
    means = mious.mean(axis=1)
    figure = Figure((9.0, 1.4 + 0.22 * len(points)), dpi=110, layout="constrained")
    axes = figure.subplots()
    best = int(means.argmax())
    for place, number in enumerate(np.argsort(-means, kind="stable")):
        colour = BEST if number == best else CONFIGURED if configured[number] else "0.15"
        axes.plot(mious[number], np.full(mious.shape[1], place), ".", color=SEED, markersize=4)
        axes.plot(means[number], place, "o", color=colour, markersize=5)
        axes.text(means[number], place - 0.25, f"{means[number]:.2f}", fontsize=7, ha="center", color=colour)
    order = np.argsort(-means, kind="stable")
    labels = [", ".join(map(str, points[n])) + (" (configured)" if configured[n] else "") for n in order]
    axes.set_yticks(range(len(points)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="mIoU, %")
    axes.set_title("values of " + ",\n".join(keys), fontsize=8, loc="left")
    axes.grid(alpha=0.3)
    return figure
