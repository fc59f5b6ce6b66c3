"""Which pixels belong together: results by object size and by number of labels tell where a method gains."""

import numpy as np

# Share of the image that a class covers in the truth; upper limits.
SIZES = {"small": 0.02, "medium": 0.15, "large": 1.0}


def size_name(share: float) -> str:
    """Name of the size group of a class that covers that share of an image."""
    return next(name for name, limit in SIZES.items() if share <= limit)


def counts_by_size(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Split one image's confusion matrix by the size of each class in it.

    Args:
        confusion: (L, L) or (L, L + 1) counts of one image, row = truth, background first.

    Returns:
        by size group, (L, 3) counts: true positives, false positives, false negatives of the classes of that size. A
        class that is only predicted, not there, has no size and is left out.
    """
    result = {name: np.zeros((len(confusion), 3), np.int64) for name in SIZES}
    rows, total = confusion.sum(axis=1), max(1, confusion.sum())
    columns = confusion.sum(axis=0)
    for label in range(1, len(confusion)):
        if rows[label]:
            hit = confusion[label, label]
            counts = hit, columns[label] - hit, rows[label] - hit
            result[size_name(rows[label] / total)][label] += counts
    return result


def mean_iou_of_counts(counts: np.ndarray) -> float:
    """Mean over the object classes that occur, of TP / (TP + FP + FN); NaN where none occurs."""
    present = counts[:, 0] + counts[:, 2] > 0
    present[0] = False
    if not present.any():
        return float("nan")
    return float((counts[present, 0] / counts[present].sum(axis=1)).mean())
