"""Mask rule `box_crf`: a dense CRF between the sure background and the middles of the boxes (WSSL, "Bbox-Seg")."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from workflow_scripts.config.types.mask_blocks import MaskRule
from workflow_scripts.config.types.parts import DenseCrf, Share
from workflow_scripts.data.boxes import class_regions
from workflow_scripts.refine.background import Maps, Rule, plain_labels
from workflow_scripts.refine.boxes import crf_start


class BoxCrfMask(MaskRule):
    rule: Literal["box_crf"]
    starts_from: ClassVar = "boxes"
    core: Share = Field(description="share of a box's area, in its middle, that is surely the object")
    crf: DenseCrf


def load(block, network, weights: str | None) -> Rule:
    """The rule of a mask block with `core`."""

    def probabilities(maps: Maps) -> np.ndarray:
        height, width = maps.image().shape[:2]
        return crf_start(maps.boxes, maps.classes, height, width, block.core)

    def labels(maps: Maps, posterior: np.ndarray) -> dict[str, np.ndarray]:
        posterior[1:] *= class_regions(maps.boxes, maps.classes, *posterior.shape[1:])
        return plain_labels(maps, posterior)

    return Rule(probabilities, labels)
