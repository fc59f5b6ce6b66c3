"""Plots: the losses of training jobs, mIoU against the background threshold, distributions. Equal content gives equal bytes."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.style
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from workflow_scripts.base.errors import UserError, one_line

PANELS_ACROSS = 3
STYLE = ("default", {"text.parse_math": False})  # a name with two dollar signs is no formula


def read_curve(path: str | Path) -> dict[str, list[float]]:
    """The columns of a training curve by name; they are empty where a network was trained elsewhere."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            rows = list(table)
        columns = {name: [float(row[name]) for row in rows] for name in table.fieldnames or ()}
    except (OSError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: not a readable training curve ({one_line(error)}); delete it and run again") from None
    if "iteration" not in columns:
        raise UserError(f"{path}: no training curve, it has no column 'iteration'; name a file that ends in .curve.csv")
    return columns


def loss_curves(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> bytes:
    """PNG with one panel for each training job: its losses by iteration, on a logarithmic scale where they span much.

    Args:
        curves: columns of the curve's CSV by title: `iteration`, `learning_rate`, one for each loss.
    """
    if not curves:
        return _words("No training curves: no system trains a network.")
    with matplotlib.style.context(STYLE):
        figure, panels = _panels(len(curves), 3.3)
        for axes, (title, columns) in zip(panels, curves.items(), strict=True):
            if not columns["iteration"]:
                axes.text(0.5, 0.5, "not trained here", ha="center", transform=axes.transAxes)
            _draw_losses(axes, columns)
            axes.set(title=title, xlabel="iteration", ylabel="loss")
        return encoded(figure)


def threshold_sweeps(sweeps: Mapping[str, Sequence[tuple[Mapping[float, float], float]]]) -> bytes:
    """PNG of mIoU against the background threshold: one colour for each cam, a line for each seed, the choice marked.

    Args:
        sweeps: by name of the cam, for each seed: mIoU in [0, 1] by threshold, and the threshold chosen.
    """
    if not sweeps:
        return _words("No threshold sweeps: no split is named to choose thresholds on.")
    with matplotlib.style.context(STYLE):
        figure = Figure((7.0, 4.4), dpi=110, layout="constrained")
        axes = figure.subplots()
        for number, (name, seeds) in enumerate(sweeps.items()):
            colour = matplotlib.colormaps["tab10"](number % 10)
            line = ("-", "--", ":", "-.")[number // 10 % 4]
            best = [100 * mious[chosen] for mious, chosen in seeds]
            choices = ", ".join(f"{chosen:g}" for _, chosen in seeds)
            label: str | None = f"{name}: {sum(best) / len(best):.1f} % at {choices}"
            for (mious, chosen), height in zip(seeds, best, strict=True):
                percent = [100 * value for value in mious.values()]
                axes.plot(
                    list(mious), percent, line, color=colour, linewidth=1.8 if len(seeds) == 1 else 0.8, label=label
                )
                axes.plot([chosen], [height], "o", color=colour, markersize=6)
                label = None
        axes.set(xlabel="threshold (score of the background)", ylabel="mIoU, %", title="Choice of the threshold")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
        return encoded(figure)


def violins(groups: Mapping[str, Mapping[str, Sequence[float]]], measure: str) -> bytes:
    """PNG with one panel for each group: a violin of each of its distributions, the median marked.

    Args:
        groups: values in [0, 1] by name, by title of the panel; distributions without values are left out.
        measure: what the values are.
    """
    with matplotlib.style.context(STYLE):
        figure, panels = _panels(len(groups), 3.1)
        for axes, (title, values) in zip(panels, groups.items(), strict=True):
            shown = {name: numbers for name, numbers in values.items() if len(numbers)}
            spread = {name: numbers for name, numbers in shown.items() if len(set(numbers)) > 1}
            places = {name: place for place, name in enumerate(shown, start=1)}
            if spread:
                axes.violinplot(list(spread.values()), [places[name] for name in spread], widths=0.8, showextrema=False)
            medians = [sorted(numbers)[len(numbers) // 2] for numbers in shown.values()]
            axes.plot(list(places.values()), medians, "k_", markersize=9)
            axes.set_xticks(list(places.values()), list(places), rotation=30, ha="right", fontsize=8)
            axes.set(title=title, ylim=(0, 1.02))
            axes.grid(axis="y", alpha=0.3)
        figure.supylabel(measure, fontsize=10)
        return encoded(figure)


def _panels(count: int, height: float) -> tuple[Figure, list]:
    """A figure with so many axes, each so many inches high."""
    across = min(PANELS_ACROSS, count)
    down = -(-count // across)
    figure = Figure((4.6 * across, height * down), dpi=110, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[count:]:
        axes.remove()
    return figure, list(panels[:count])


def _draw_losses(axes, columns: Mapping[str, Sequence[float]]) -> None:
    losses = {name: values for name, values in columns.items() if name not in {"iteration", "learning_rate"}}
    for name, values in losses.items():
        axes.plot(columns["iteration"], values, label=name.replace("_", " "), marker="." if len(values) == 1 else None)
    every = [value for values in losses.values() for value in values]
    if every and min(every) > 0 and max(every) > 10 * min(every):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axes.yaxis.set_minor_formatter("{x:g}")
    else:
        axes.set_ylim(bottom=min([0, *every]))
    axes.grid(alpha=0.3)
    if losses:
        axes.legend(fontsize=9)


def _words(text: str) -> bytes:
    with matplotlib.style.context(STYLE):
        figure = Figure((7.0, 1.2), dpi=110)
        figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=11)
        return encoded(figure)


def encoded(figure: Figure) -> bytes:
    """The figure as PNG, without the name and version of the software."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
