"""Where each stage writes. The name of an artifact is the name of its block."""

import re
from collections.abc import Iterable
from functools import cache

from workflow_scripts.config.planning.stages import STAGES

OUTPUTS = {name: stage.output for name, stage in STAGES.items()}
# The section of the block that a stage is of, and the wildcard that names it.
BLOCKS = {name: (stage.block, stage.wildcards[-1]) for name, stage in STAGES.items() if stage.block}
# Stages whose artifacts pictures show, in their order, and the schemas of these.
SHOWN = {"saliency": "saliency", "cams": "cam", "masks": "mask", "predictions": "prediction"}
# The same stages in tables of doubt.
DOUBTED = {"saliency": "saliency", "cams": "maps", "masks": "mask", "predictions": "segmentation"}


def output_path(stage: str, /, output: str | None = None, **names: str) -> str:
    """Where a stage writes its first output, or the one that is named."""
    patterns = OUTPUTS[stage]
    return patterns[output or next(iter(patterns))].format(**names)


def of_seeds(stage: str, seeds: Iterable[int], **names: str) -> list[str]:
    """Where a stage writes its first output, for each seed."""
    return [output_path(stage, **names, seed=str(seed)) for seed in seeds]


def maker(path: str) -> tuple[str, dict[str, str]] | None:
    """The stage that writes a file, and its wildcards; None for what no stage writes."""
    for stage, pattern in _patterns():
        if match := pattern.fullmatch(path):
            return stage, match.groupdict()
    return None


@cache
def _patterns() -> list[tuple[str, re.Pattern]]:
    """Those with the fewest wildcards first: curves.png is no system's picture."""
    patterns = [(stage, pattern) for stage, outputs in OUTPUTS.items() for pattern in outputs.values()]
    parts = [(stage, re.split(r"\{(\w+)\}", pattern)) for stage, pattern in patterns]
    named = [
        (stage, "".join(f"(?P<{text}>[^/]+)" if place % 2 else re.escape(text) for place, text in enumerate(part)))
        for stage, part in sorted(parts, key=lambda item: len(item[1]))
    ]
    return [(stage, re.compile(pattern)) for stage, pattern in named]
