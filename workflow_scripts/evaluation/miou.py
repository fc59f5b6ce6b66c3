"""Mean intersection over union (Everingham et al., IJCV 2010) from confusion matrices that add up over images."""

import numpy as np


def confusion_matrix(
    prediction: np.ndarray, truth: np.ndarray, num_classes: int, ignore: int = 255, missed_column: bool = False
) -> np.ndarray:
    """Count pixels by true and predicted class; the matrices of several images may be summed.

    Pixels whose truth is `ignore` are left out whatever was predicted there. A prediction of `ignore` on any other
    pixel is a miss: a false negative of the true class and a false positive of none. Leaving such pixels out would
    reward masks that abstain where they are unsure, so they are never dropped: `missed_column=True` counts them in
    one more column, and without that column they are an error.

    Args:
        prediction: (...) integers in 0..num_classes-1, or `ignore`.
        truth: the same shape, integers in 0..num_classes-1, or `ignore`.
        num_classes: number of classes, background included.
        ignore: the value of pixels without a class.
        missed_column: append the column of misses.

    Returns:
        (num_classes, num_classes) int64, row = truth, column = prediction; (num_classes, num_classes + 1) with
        `missed_column`.

    Raises:
        ValueError: shapes differ, an array does not hold integers, or a value is no class.
    """
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction {prediction.shape} and truth {truth.shape} must have one shape")
    for name, array in (("prediction", prediction), ("truth", truth)):
        if not np.issubdtype(array.dtype, np.integer):
            raise ValueError(f"{name} must hold integers, not {array.dtype}")
    counted = truth != ignore
    # int64 before the arithmetic below: num_classes * 255 does not fit in uint8.
    prediction, truth = prediction[counted].astype(np.int64), truth[counted].astype(np.int64)
    columns = num_classes + int(missed_column)
    if missed_column:
        prediction = np.where(prediction == ignore, num_classes, prediction)
    for name, values, limit in (("prediction", prediction, columns), ("truth", truth, num_classes)):
        if values.size and (values.min() < 0 or values.max() >= limit):
            raise ValueError(
                f"{name} holds {values.min()}..{values.max()}, expected classes 0..{num_classes - 1}"
                f" (predictions of {ignore} need missed_column=True)"
            )
    return np.bincount(truth * columns + prediction, minlength=num_classes * columns).reshape(num_classes, columns)


def intersection_over_union(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of every class: TP / (TP + FN + FP).

    Args:
        confusion: (C, C) counts, row = truth, or (C, C + 1) with a last column of misses (false negatives only).

    Returns:
        (C,) float64 in [0, 1], NaN where a class is in neither the truth nor the prediction.
    """
    confusion = np.asarray(confusion, dtype=np.float64)
    num_classes = len(confusion)
    intersection = np.diagonal(confusion)
    union = confusion.sum(axis=1) + confusion[:, :num_classes].sum(axis=0) - intersection
    return np.divide(intersection, union, out=np.full(num_classes, np.nan), where=union > 0)


def mean_intersection_over_union(confusion: np.ndarray) -> float:
    """Mean of `intersection_over_union` over the classes present in the truth, in [0, 1]; NaN for an empty truth.

    A class that is predicted but never true has no IoU of its own to average, yet costs the classes it is taken from.
    """
    present = np.asarray(confusion).sum(axis=1) > 0
    return float(intersection_over_union(confusion)[present].mean()) if present.any() else float("nan")
