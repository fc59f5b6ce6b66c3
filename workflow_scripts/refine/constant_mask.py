"""Mask rule `constant`: a background of constant score beside maps divided by their maxima (PSA, EPS)."""

from typing import Annotated, Literal

from pydantic import Field

from workflow_scripts.config.types.mask_blocks import MaskRule, Threshold
from workflow_scripts.config.types.parts import DenseCrf, Name, Of
from workflow_scripts.data.maps import constant_background
from workflow_scripts.refine.background import Rule


class ConstantMask(MaskRule):
    rule: Literal["constant"]
    cam: Annotated[Name, Of("cams")]
    threshold: Threshold = Field(description="background score beside maps whose maximum is 1")
    crf: DenseCrf | None = None


def load(block, affinity, weights: str | None) -> Rule:
    """The rule of a mask block with `threshold`; no network, no weights."""
    return Rule(lambda maps: constant_background(maps.scores, block.threshold))
