"""Mask rule `proxy`: attention and saliency joined by their harmonic mean (SeeNet, Algorithm 1)."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveFloat

from workflow_scripts.config.types.mask_blocks import MaskRule
from workflow_scripts.config.types.parts import DenseCrf, Name, Of, Share
from workflow_scripts.data.maps import normalised
from workflow_scripts.refine import proxy
from workflow_scripts.refine.background import Maps, Rule, plain_labels


class ProxyMask(MaskRule):
    rule: Literal["proxy"]
    cam: Annotated[Name, Of("cams")]
    saliency: Annotated[Name, Of("saliency")]
    weight: PositiveFloat = Field(description="of the maps in their harmonic mean with saliency")
    conflict: Share | None = Field(None, description="ignored: pixels where the maps of two classes exceed it")
    unsalient: Share | None = Field(None, description="ignored: pixels whose saliency is below it")
    crf: DenseCrf | None = None


def load(block, affinity, weights: str | None) -> Rule:
    """The rule of a mask block with `weight`, and `conflict` and `unsalient` where pixels are to be ignored."""
    conflict, unsalient = getattr(block, "conflict", None), getattr(block, "unsalient", None)

    def probabilities(maps: Maps) -> np.ndarray:
        return proxy.proxy_scores(normalised(maps.scores), maps.saliency(), block.weight)

    def labels(maps: Maps, scores: np.ndarray) -> dict[str, np.ndarray]:
        label = plain_labels(maps, scores)["label"]
        label[proxy.ignored(normalised(maps.scores), maps.saliency(), conflict, unsalient)] = proxy.IGNORE
        return {"label": label}

    return Rule(probabilities, labels)
