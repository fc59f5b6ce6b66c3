"""Confusion ratio of a class and a background that comes with it (EPS, Lee et al., CVPR 2021, 5.1)."""

import numpy as np


def confusion_ratio(
    prediction: np.ndarray, truth: np.ndarray, context: np.ndarray, target: int, context_class: int
) -> tuple[int, int]:
    """Pixels of a background that are taken for a class, and pixels of the class that are found.

    m = FP / TP, each summed over the images that show the class.

    Args:
        prediction: (H, W) labels.
        truth: (H, W) true labels.
        context: (H, W) labels of backgrounds, of a numbering of their own.
        target: label of the class.
        context_class: label of the background.

    Raises:
        ValueError: shapes differ.
    """
    if not prediction.shape == truth.shape == context.shape:
        raise ValueError(
            f"prediction {prediction.shape}, truth {truth.shape} and context {context.shape} must have one shape"
        )
    taken = prediction == target
    found = taken & (truth == target)
    mistaken = taken & (context == context_class) & (truth != target)
    return int(np.count_nonzero(mistaken)), int(np.count_nonzero(found))
