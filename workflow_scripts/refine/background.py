"""What a mask rule is given of an image, and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from workflow_scripts.data.maps import to_label


@dataclass(frozen=True)
class Maps:
    """What a mask rule is given of one image.

    Attributes:
        classes: (K,) 0-based.
        scores: float32 (K, H, W), >= 0; None where the rule starts from boxes.
        background: float32 (H, W), or None where the method learns none.
        image: reads the image, uint8 (H, W, 3) RGB.
        boxes: (M, 5) float32, x0, y0, x1, y1 in pixels and the 0-based class, where the rule asks for them.
        saliency: reads its saliency map, float32 (H, W) in [0, 1], where the rule asks for one.
        source: file and id, for messages.
    """

    classes: np.ndarray
    scores: Any
    background: Any
    image: Callable[[], np.ndarray]
    source: str
    saliency: Any = None
    boxes: Any = None


def plain_labels(maps: Maps, probabilities: np.ndarray) -> dict[str, np.ndarray]:
    """The arg-max alone, as `label`."""
    return {"label": to_label(probabilities, maps.classes)}


@dataclass(frozen=True)
class Rule:
    """What a mask block does with an image.

    Attributes:
        probabilities: of the maps, (K + 1, H, W), background first.
        labels: the arrays to store, of the maps and of the probabilities after the dense CRF where the block has one.
    """

    probabilities: Callable[[Maps], np.ndarray]
    labels: Callable[[Maps, np.ndarray], dict[str, np.ndarray]] = plain_labels
