"""Mask rule `constant`: a background of constant score beside maps divided by their maxima (PSA, EPS)."""

from workflow_scripts.refine.background import Rule, constant_background


def load(block, affinity, weights: str | None) -> Rule:
    """The rule of a mask block with `threshold`; no network, no weights."""
    return Rule(lambda maps: constant_background(maps.scores, block.threshold))
