"""Mask rule `box_attention`: BANA's two label maps for classes that its classifier has not learnt ("VOC-to-COCO").

What does not resemble the sure background is object, of whatever class: 1 - u_0 stands for all class maps. Each box then
gives the object inside it its class.
"""

from types import SimpleNamespace
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt

from workflow_scripts.config.types.mask_blocks import MaskRule
from workflow_scripts.config.types.parts import DenseCrf, Name, Of, Share
from workflow_scripts.data.boxes import background_mask, by_area, region
from workflow_scripts.refine import box_unary, box_unary_mask
from workflow_scripts.refine.background import Maps, Rule
from workflow_scripts.training.device import device


class BoxAttentionMask(MaskRule):
    """As `box_unary` without class maps, for classes that the classifier does not know: 1 - u_0 is the object."""

    rule: Literal["box_attention"]
    starts_from: ClassVar = "boxes"
    two_label_maps: ClassVar = True
    classifier: Annotated[Name, Of("classifiers")] = Field(description="whose features are used; of method bana")
    dataset: Name | None = Field(None, description="that the classifier was trained on; this one if null")
    grid_size: PositiveInt = Field(description="cells of the background's queries in either direction")
    threshold: Share = Field(description="attention below it does not count")
    threshold_of: Literal["maximum", "one"] = Field(
        description="the threshold is a share of the image's maximum, or of 1"
    )
    softmax: bool = Field(description="over the two scores, inside the boxes, before the CRF")
    retrieval_in_boxes: bool = Field(description="the second label map has background for sure outside all boxes")
    align_corners: bool = Field(description="of the up-sampling of the features")
    precision: Literal["float32", "bfloat16"]
    crf: DenseCrf | None = None


def load(block: SimpleNamespace, classifier: SimpleNamespace, weights: str) -> Rule:
    """The rule of a mask block; arguments as of rule `box_unary`, without what concerns class maps."""
    rule = _BoxAttention(block, classifier, weights)
    return Rule(rule.probabilities, rule.labels)


class _BoxAttention(box_unary_mask._BoxUnary):
    @torch.inference_mode()
    def probabilities(self, maps: Maps) -> np.ndarray:
        """Unary scores (2, H, W) of background and object; (1, H, W) without a box."""
        inside, block = self._inside(maps), self.block
        if not inside.any():
            return np.ones((1, *inside.shape), np.float32)
        attention = box_unary.background_attention(self._features(maps), ~inside, block.grid_size)
        if attention is None:  # no background is sure: boxes are filled
            attention = torch.zeros(inside.shape, device=inside.device)
        limit = block.threshold * (attention.max() if block.threshold_of == "maximum" else 1)
        background = torch.where(inside, torch.where(attention < limit, 0, attention), 1)
        unary = torch.stack([background, 1 - background])
        return (torch.where(inside, unary.softmax(dim=0), unary) if block.softmax else unary).cpu().numpy()

    @torch.inference_mode()
    def labels(self, maps: Maps, probabilities: np.ndarray) -> dict[str, np.ndarray]:
        """`label` by the CRF's posterior, and `label_retrieved`; where boxes overlap the smaller one gives the class."""
        inside = self._inside(maps)
        classes = np.zeros(tuple(inside.shape), np.uint8)
        for row in by_area(maps.boxes):
            classes[region(maps.boxes[row], *classes.shape)] = int(maps.boxes[row, 4]) + 1
        if len(probabilities) == 1:
            return {"label": classes, "label_retrieved": classes}
        posterior = torch.from_numpy(probabilities).to(inside.device)
        posterior[1] *= inside
        label, features = posterior.argmax(dim=0), self._features(maps)
        # The prototype of what the label map does not have: the classifier's background, the mean of all boxes.
        prototypes = torch.cat([self.head[:1], features.means(inside[None])])
        other = box_unary.retrieved(features, prototypes, label, inside[None], self.block.retrieval_in_boxes)
        found = {"label": label, "label_retrieved": other}
        return {name: np.where(values.cpu().numpy() == 1, classes, np.uint8(0)) for name, values in found.items()}

    def _inside(self, maps: Maps) -> torch.Tensor:
        return torch.from_numpy(background_mask(maps.boxes, *maps.image().shape[:2]) == 0).to(device())
