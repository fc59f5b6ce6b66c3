"""How doubtful the stages of one image are, without any truth: stages that disagree cannot all be right.

All measures lie in [0, 1], 0 where nothing speaks against a stage. Label maps hold 0 for background, class + 1, and 255
for what was not decided, which does not count.
"""

from collections.abc import Mapping

import numpy as np

from workflow_scripts.evaluation.miou import confusion_matrix, intersection_over_union
from workflow_scripts.evaluation.saliency import foreground_iou

IGNORE = 255


def disagreement(one: np.ndarray, other: np.ndarray, labels: int) -> float:
    """1 - the mean IoU of two label maps, over the labels that either of them has, background among them.

    The same whichever comes first: 0 where they are equal, 1 where they share no pixel of any label.

    Args:
        one, other: (H, W) integers.
        labels: number of classes and background.

    Returns:
        In [0, 1]; NaN where no pixel counts in both.
    """
    counted = (one != IGNORE) & (other != IGNORE)
    iou = intersection_over_union(confusion_matrix(one[counted], other[counted], labels))
    known = iou[~np.isnan(iou)]
    return 1 - float(known.mean()) if known.size else float("nan")


def foreground_disagreement(saliency: np.ndarray, label: np.ndarray) -> float:
    """1 - the IoU of {saliency > 0.5} and the foreground of a label map; 0 where neither has a pixel.

    Args:
        saliency: (H, W) uint8, or float in [0, 1].
        label: (H, W) integers.
    """
    iou = foreground_iou(saliency, label, ignore=IGNORE)
    return 0.0 if np.isnan(iou) else 1 - iou


def entropy(probabilities: np.ndarray) -> float:
    """The entropy of each pixel's distribution, divided by that of the uniform one, ln L; the mean over the pixels.

    Args:
        probabilities: (L, H, W), >= 0, divided here by their sum over L.

    Returns:
        In [0, 1]: 0 where each pixel is certain, 1 where each has all labels alike; 0 with a single label.
    """
    count = len(probabilities)
    if count < 2:
        return 0.0
    shares = probabilities / np.maximum(probabilities.sum(axis=0), np.finfo(np.float32).tiny)
    terms = shares * np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return float(np.clip(-terms.sum(axis=0).mean() / np.log(count), 0, 1))


def wrong_labels(label: np.ndarray, classes: np.ndarray) -> float:
    """1 - the IoU of the set of classes that a label map shows and the set of the image's labels; 0 where both are empty.

    Args:
        label: (H, W) integers.
        classes: 0-based, those that the image is labelled with.
    """
    shown, named = {*np.unique(label).tolist()} - {0, IGNORE}, {*(classes + 1).tolist()}
    return 1 - len(shown & named) / len(shown | named) if shown | named else 0.0


def of_stages(parts: Mapping[str, float]) -> dict[str, float]:
    """The doubt of each stage: the mean of what is known of it.

    Args:
        parts: by `stage:measure` what was measured of it alone, and by `stage-stage` the disagreement of two of them.

    Returns:
        By stage, in the order in which they first stand in `parts`; NaN where nothing is known.
    """
    found: dict[str, list[float]] = {}
    for name, value in parts.items():
        for stage in name.partition(":")[0].split("-"):
            found.setdefault(stage, []).append(value)
    return {stage: _mean(values) for stage, values in found.items()}


def _mean(values: list[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return sum(known) / len(known) if known else float("nan")
