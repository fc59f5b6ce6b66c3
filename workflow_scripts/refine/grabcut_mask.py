"""Mask rule `grabcut`: the object in every box by GrabCut, smaller boxes in front."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from workflow_scripts.config.types.mask_blocks import MaskRule
from workflow_scripts.refine.background import Maps, Rule
from workflow_scripts.refine.boxes import grabcut, painted


class GrabCutMask(MaskRule):
    rule: Literal["grabcut"]
    starts_from: ClassVar = "boxes"
    iterations: PositiveInt = Field(description="of GrabCut, between colour models and cut")


def load(block, network, weights: str | None) -> Rule:
    """The rule of a mask block with `iterations`."""

    def probabilities(maps: Maps) -> np.ndarray:
        image = maps.image()
        regions = [grabcut(image, box, block.iterations) for box in maps.boxes]
        return painted(regions, maps.boxes, maps.classes) if regions else np.ones((1, *image.shape[:2]), np.float32)

    return Rule(probabilities)
