"""Mask rule `box_unary`: BANA's two label maps, by a dense CRF and by retrieval, from boxes and a classifier's features."""

from types import SimpleNamespace
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from workflow_scripts import networks
from workflow_scripts.config.types.mask_blocks import MaskRule
from workflow_scripts.config.types.parts import DenseCrf, Name, Of, Share
from workflow_scripts.data.boxes import class_regions, region
from workflow_scripts.data.checkpoints.weights import load_strictly, read_state
from workflow_scripts.data.transforms import normalise
from workflow_scripts.refine import box_unary
from workflow_scripts.refine.background import Maps, Rule
from workflow_scripts.training.device import autocast, device


class BoxUnaryMask(MaskRule):
    rule: Literal["box_unary"]
    starts_from: ClassVar = "boxes"
    two_label_maps: ClassVar = True
    classifier: Annotated[Name, Of("classifiers")] = Field(description="whose features and weights; of method bana")
    background: Literal["attention", "cam"] = Field(
        description="score of the background: its attention, or the classifier's map of it (without u_0)"
    )
    grid_size: PositiveInt = Field(description="cells of the background's queries in either direction")
    threshold: Share = Field(description="attention below it does not count")
    threshold_of: Literal["maximum", "one"] = Field(
        description="the threshold is a share of the image's maximum, or of 1"
    )
    normalised: Literal["box", "image"] = Field(
        description="class maps are divided by their maximum over the box or image"
    )
    softmax: bool = Field(description="over the scores, inside the boxes, before the CRF")
    retrieval_in_boxes: bool = Field(
        description="the second label map has classes only inside their boxes, background for sure outside all"
    )
    align_corners: bool = Field(description="of the up-sampling of the features")
    precision: Literal["float32", "bfloat16"]
    crf: DenseCrf | None = None


def load(block: SimpleNamespace, classifier: SimpleNamespace, weights: str) -> Rule:
    """The rule of a mask block.

    Args:
        block: options of `box_unary.box_unary`, `retrieval_in_boxes`, `align_corners` of the up-sampling, `precision`.
        classifier: settings of the classifier, whose `backbone` is used.
        weights: of the trained classifier: a backbone and a `head` with the background first.
    """
    rule = _BoxUnary(block, classifier, weights)
    return Rule(rule.probabilities, rule.labels)


class _BoxUnary:
    def __init__(self, block: SimpleNamespace, classifier: SimpleNamespace, weights: str):
        self.block = block
        state = read_state(weights)
        self.backbone = networks.build(**vars(classifier.backbone))
        own = {name.removeprefix("backbone."): v for name, v in state.items() if name.startswith("backbone.")}
        load_strictly(self.backbone, own, weights)
        self.backbone.to(device(), memory_format=torch.channels_last).eval()
        self.head = state["head.weight"].flatten(1).to(device())
        self._kept: tuple[str, box_unary.Upsampled] | None = None  # of the image between the two calls

    @torch.inference_mode()
    def probabilities(self, maps: Maps) -> np.ndarray:
        """Unary scores (K + 1, H, W), background first."""
        height, width = maps.image().shape[:2]
        rows = {int(label): row for row, label in enumerate(maps.classes)}
        boxes = [(rows[int(box[4])], *region(box, height, width)) for box in maps.boxes]
        options = ("background", "grid_size", "threshold", "threshold_of", "normalised", "softmax")
        unary = box_unary.box_unary(
            self._features(maps),
            self._weights(maps),
            self._regions(maps),
            boxes,
            **{name: getattr(self.block, name) for name in options},
        )
        return unary.cpu().numpy()

    @torch.inference_mode()
    def labels(self, maps: Maps, probabilities: np.ndarray) -> dict[str, np.ndarray]:
        """`label` by the CRF's posterior, classes only inside their boxes, and `label_retrieved`."""
        regions = self._regions(maps)
        posterior = torch.from_numpy(probabilities).to(regions.device)
        posterior[1:] *= regions
        label = posterior.argmax(dim=0)
        other = box_unary.retrieved(
            self._features(maps), self._weights(maps), label, regions, self.block.retrieval_in_boxes
        )
        values = np.concatenate([[0], maps.classes + 1]).astype(np.uint8)
        return {"label": values[label.cpu().numpy()], "label_retrieved": values[other.cpu().numpy()]}

    def _weights(self, maps: Maps) -> Tensor:
        return self.head[np.concatenate([[0], maps.classes + 1])]

    def _regions(self, maps: Maps) -> Tensor:
        height, width = maps.image().shape[:2]
        return torch.from_numpy(class_regions(maps.boxes, maps.classes, height, width)).to(device())

    def _features(self, maps: Maps) -> box_unary.Upsampled:
        if self._kept is None or self._kept[0] != maps.source:
            image = maps.image()
            height, width = image.shape[:2]
            with autocast(device(), self.block.precision):
                features = self.backbone(
                    normalise(image)[None].to(device()).contiguous(memory_format=torch.channels_last)
                )
            features = features[0].float().contiguous()
            kept = box_unary.Upsampled(features, height, width, self.block.align_corners)
            self._kept = (maps.source, kept)
        return self._kept[1]
