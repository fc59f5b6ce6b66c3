"""Charts of the table of mIoU: every class of every system's masks, and every system from stage to stage."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

from workflow_scripts.look.plots import STYLE, encoded

ACROSS = 6  # panels
STAGES = ("cam", "mask", "segmentation", "segmentation_crf")


def class_bars(values: Sequence[tuple[str, Mapping[str, float]]], measure: str) -> bytes:
    """PNG with one panel for each class and one bar for each system.

    Args:
        values: name of the class, and IoU in percent by system; the classes of a system are those that occur.
        measure: what the bars are.
    """
    systems = list(dict.fromkeys(name for _, found in values for name in found))
    across = min(ACROSS, max(1, len(values)))
    down = max(1, -(-len(values) // across))
    with matplotlib.style.context(STYLE):
        figure = Figure((2.5 * across, 0.7 + (0.5 + 0.19 * len(systems)) * down), dpi=100, layout="constrained")
        panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        colours = {name: matplotlib.colormaps["tab20"](place % 20) for place, name in enumerate(systems)}
        for axes, (title, found) in zip(panels.ravel(), values, strict=False):
            shown = [found.get(name, 0.0) for name in systems]
            bars = axes.barh(range(len(systems)), shown, color=[colours[name] for name in systems])
            axes.bar_label(bars, [f"{value:.0f}" for value in shown], fontsize=7, padding=2)
            axes.set_yticks(range(len(systems)), systems, fontsize=8)
            axes.set(xlim=(0, 112), xticks=(0, 50, 100))
            axes.set_title(title, fontsize=10)
            axes.spines[["top", "right"]].set_visible(False)
        if systems:
            panels[0, 0].invert_yaxis()  # shared by all: the first system on top
        for axes in panels.ravel()[len(values) :]:
            axes.remove()
        figure.supxlabel(measure, fontsize=10)
        return encoded(figure)


def stage_lines(systems: Mapping[str, Mapping[str, tuple[float, float]]], splits: Mapping[str, Sequence[str]]) -> bytes:
    """PNG with a line for each system from stage to stage.

    Args:
        systems: by name of the system and stage: mIoU in percent, and its standard deviation over seeds (0 for one seed).
        splits: on which each stage is scored.
    """
    stages = [stage for stage in STAGES if any(stage in found for found in systems.values())]
    with matplotlib.style.context(STYLE):
        figure = Figure((8.5, 4.8), dpi=110, layout="constrained")
        axes = figure.subplots()
        for place, (name, found) in enumerate(systems.items()):
            shown = [stage for stage in stages if stage in found]
            heights, spreads = zip(*(found[stage] for stage in shown), strict=True)
            style: Any = {"color": matplotlib.colormaps["tab20"](place % 20), "marker": "o", "markersize": 4}
            axes.errorbar([stages.index(stage) for stage in shown], heights, spreads, label=name, capsize=3, **style)
        names = [f"{stage.replace('_', ', ')}\n({', '.join(splits.get(stage, ()))})" for stage in stages]
        axes.set_xticks(range(len(stages)), names)
        axes.set(ylabel="mIoU, %", ylim=(0, 102))
        axes.grid(alpha=0.3)
        if systems:
            axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
        return encoded(figure)
