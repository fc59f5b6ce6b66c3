"""Average precision of image-level scores: how well a classifier ranks the images of each class."""

import numpy as np


def average_precision(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Average precision of every class: precision summed over the steps of recall, without interpolation.

    Images of equal score enter together, so the order of the images never matters.

    Args:
        scores: (N, C) real numbers, higher = more confident; any monotonic scale, logits included.
        labels: (N, C) 0/1.

    Returns:
        (C,) float64 in [0, 1], NaN where a class has no positive image.

    Raises:
        ValueError: the arrays are not of one shape (N, C), or a score is NaN.
    """
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels).astype(bool)
    if scores.ndim != 2 or scores.shape != labels.shape:
        raise ValueError(f"scores {scores.shape} and labels {labels.shape} must have one shape (N, C)")
    if np.isnan(scores).any():
        raise ValueError("scores hold NaN")
    return np.array([_average_precision_of_class(scores[:, k], labels[:, k]) for k in range(scores.shape[1])])


def mean_average_precision(precisions: np.ndarray) -> float:
    """Mean of what `average_precision` gives (C,) over the classes with a positive image; NaN where there is none."""
    defined = ~np.isnan(precisions)
    return float(precisions[defined].mean()) if defined.any() else float("nan")


def _average_precision_of_class(scores: np.ndarray, labels: np.ndarray) -> float:
    positives = labels.sum()
    if not positives:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_equals = np.append(ranked[1:] != ranked[:-1], True)
    true_positives = np.cumsum(labels[order])[last_of_equals]
    precision = true_positives / (np.flatnonzero(last_of_equals) + 1)
    return float((np.diff(true_positives, prepend=0) * precision).sum() / positives)
