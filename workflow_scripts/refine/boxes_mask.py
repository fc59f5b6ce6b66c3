"""Mask rule `boxes`: every box is filled with its class, smaller boxes in front."""

from typing import ClassVar, Literal

from workflow_scripts.config.types.mask_blocks import MaskRule
from workflow_scripts.refine.background import Maps, Rule
from workflow_scripts.refine.boxes import filled


class FilledBoxMask(MaskRule):
    rule: Literal["boxes"]
    starts_from: ClassVar = "boxes"


def load(block, network, weights: str | None) -> Rule:
    """The rule of a mask block; no network, no weights."""

    def probabilities(maps: Maps):
        return filled(maps.boxes, maps.classes, *maps.image().shape[:2])

    return Rule(probabilities)
