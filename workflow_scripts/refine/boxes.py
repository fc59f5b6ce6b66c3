"""Label scores from boxes and the image alone: filled boxes, GrabCut, the start of a dense CRF."""

import cv2
import numpy as np

from workflow_scripts.data.boxes import by_area, class_regions, region


def painted(regions: list[np.ndarray], boxes: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """One-hot scores (K + 1, H, W), background first, of a region (H, W) for each box; smaller boxes stand in front."""
    rows = {int(label): row for row, label in enumerate(classes)}
    label = np.zeros(regions[0].shape, np.int64)
    for number in by_area(boxes):
        label[regions[number]] = rows[int(boxes[number, 4])] + 1
    return (label == np.arange(len(classes) + 1)[:, None, None]).astype(np.float32)


def filled(boxes: np.ndarray, classes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Every pixel of a box is the object: (K + 1, H, W)."""
    regions = [_mask(box, height, width) for box in boxes]
    return painted(regions, boxes, classes) if regions else np.ones((1, height, width), np.float32)


def grabcut(image: np.ndarray, box: np.ndarray, iterations: int) -> np.ndarray:
    """The object in a box by GrabCut (Rother et al., SIGGRAPH 2004) of OpenCV: bool (H, W).

    The box itself where there is nothing outside it to learn the background from, or where nothing is left of it.

    Args:
        image: uint8 (H, W, 3) RGB.
        box: x0, y0, x1, y1 in pixels.
        iterations: of the alternation between colour models and cut.
    """
    whole = _mask(box, *image.shape[:2])
    if whole.all() or whole.sum() < 2:
        return whole
    state = np.where(whole, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    cv2.setRNGSeed(0)  # the colour models start from random clusters
    cv2.setNumThreads(1)
    cv2.grabCut(np.ascontiguousarray(image[:, :, ::-1]), state, None, None, None, iterations, cv2.GC_INIT_WITH_MASK)
    found = whole & ((state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD))
    return found if found.any() else whole


def crf_start(boxes: np.ndarray, classes: np.ndarray, height: int, width: int, core: float) -> np.ndarray:
    """Scores for a dense CRF, after WSSL (Papandreou et al., ICCV 2015, "Bbox-Seg").

    Outside the boxes background is sure, and in the middle of a box its class; elsewhere in a box they are equal.

    Args:
        core: share of a box's area, in its middle, that is surely the object (WSSL's alpha).

    Returns:
        float32 (K + 1, H, W), background first, summing to 1.
    """
    regions = class_regions(boxes, classes, height, width)
    scores = np.concatenate([np.ones((1, height, width), bool), regions]).astype(np.float32)
    rows = {int(label): row for row, label in enumerate(classes)}
    for number in by_area(boxes):
        x0, y0, x1, y1, label = boxes[number]
        inset = (1 - core**0.5) / 2
        middle = np.array(
            [x0 + inset * (x1 - x0), y0 + inset * (y1 - y0), x1 - inset * (x1 - x0), y1 - inset * (y1 - y0)]
        )
        where = region(middle, height, width)
        scores[:, *where] = 0
        scores[rows[int(label)] + 1, *where] = 1
    return scores / scores.sum(axis=0)


def _mask(box: np.ndarray, height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[region(box, height, width)] = True
    return mask
