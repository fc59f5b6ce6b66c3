"""Mask rule `box_crf`: a dense CRF between the sure background and the middles of the boxes (WSSL, "Bbox-Seg")."""

import numpy as np

from workflow_scripts.data.boxes import class_regions
from workflow_scripts.refine.background import Maps, Rule, plain_labels
from workflow_scripts.refine.boxes import crf_start


def load(block, network, weights: str | None) -> Rule:
    """The rule of a mask block with `core`."""

    def probabilities(maps: Maps) -> np.ndarray:
        return crf_start(maps.boxes, maps.classes, *maps.image().shape[:2], block.core)

    def labels(maps: Maps, posterior: np.ndarray) -> dict[str, np.ndarray]:
        posterior[1:] *= class_regions(maps.boxes, maps.classes, *posterior.shape[1:])
        return plain_labels(maps, posterior)

    return Rule(probabilities, labels)
