"""Mask rule `salient_label`: what is salient has the image's label, and of several labels the one of the strongest map."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from workflow_scripts.config.types.datasets import Dataset
from workflow_scripts.config.types.mask_blocks import MaskRule
from workflow_scripts.config.types.parts import DenseCrf, Name, Of
from workflow_scripts.data.maps import normalised
from workflow_scripts.refine.background import Maps, Rule, plain_labels

IGNORE = 255


class SalientLabelMask(MaskRule):
    rule: Literal["salient_label"]
    cam: Annotated[Name, Of("cams")] = Field(
        description="maps that part the classes of an image with several; not made where every image is known to have one"
    )
    saliency: Annotated[Name, Of("saliency")]
    threshold: Annotated[float, Field(gt=0, lt=1)] = Field(description="saliency above which a pixel is the object")
    crf: DenseCrf | None = None

    def maps(self, data: Dataset) -> str | None:
        return None if data.single_labels() else self.cam


def load(block, affinity, weights: str | None) -> Rule:
    """The rule of a mask block with `threshold`; no network, no weights."""

    def probabilities(maps: Maps) -> np.ndarray:
        return salient_labels(maps.saliency(), strongest(maps), len(maps.classes), block.threshold)

    def labels(maps: Maps, scores: np.ndarray) -> dict[str, np.ndarray]:
        label = plain_labels(maps, scores)["label"]
        label[(label > 0) & (strongest(maps) < 0)] = IGNORE
        return {"label": label}

    return Rule(probabilities, labels)


def salient_labels(saliency: np.ndarray, parts: np.ndarray, count: int, threshold: float) -> np.ndarray:
    """Probabilities of the background and of each class, from saliency and the class of each pixel.

    Saliency s counts as the probability of an object. Its odds are divided by those of the threshold t: the object has
    s (1 - t) / (s (1 - t) + (1 - s) t), which is s at t = 0.5, and more than half where s > t.

    Args:
        saliency: float32 (H, W) in [0, 1].
        parts: (H, W), the 0-based row of the class that a pixel has if it is salient; negative: any of them.
        count: K, the classes of the image.
        threshold: t, in (0, 1).

    Returns:
        float32 (K + 1, H, W), background first, summing to 1. Where any class may be, each has all of what is not background.
    """
    if not count:
        return np.ones((1, *saliency.shape), np.float32)
    for_object, for_background = saliency * (1 - threshold), (1 - saliency) * threshold
    salient = (for_object / (for_object + for_background)).astype(np.float32)
    rows = np.arange(count)[:, None, None]
    return np.concatenate([1 - salient[None], np.where((parts == rows) | (parts < 0), salient, 0)])


def strongest(maps: Maps) -> np.ndarray:
    """The row of the strongest map at each pixel, (H, W), each map divided by its maximum; -1 where two are equally strong."""
    if len(maps.classes) < 2:
        return np.zeros(maps.saliency().shape, np.int64)
    scores = normalised(maps.scores)
    second, first = np.partition(scores, -2, axis=0)[-2:]
    return np.where(first > second, scores.argmax(axis=0), -1)
