"""Boundary precision and recall (Martin et al., PAMI 2004), whatever the class, as EPS's Table 1 has them.

Boundaries are one pixel wide: where the Laplacian of a label map changes its sign. Both are matched by distance, not one to one.
"""

import numpy as np
from scipy.ndimage import distance_transform_edt

VOID = 255


def contours(label: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour has another label; void pixels take the nearest label first.

    Args:
        label: (H, W) integers, 255 = void.

    Returns:
        (H, W) bool.
    """
    void = label == VOID
    if void.any() and not void.all():
        rows, columns = distance_transform_edt(void, return_distances=False, return_indices=True)
        label = label[rows, columns]
    edges = np.zeros(label.shape, bool)
    edges[:, :-1] |= label[:, :-1] != label[:, 1:]
    edges[:-1] |= label[:-1] != label[1:]
    return edges


def boundary_scores(prediction_edges: np.ndarray, truth_edges: np.ndarray, tolerance: float) -> np.ndarray:
    """Count boundary pixels, and those with a pixel of the other boundary near; counts of several images may be summed.

    Args:
        prediction_edges: (H, W) bool.
        truth_edges: (H, W) bool.
        tolerance: distance up to which pixels match, share of the image's diagonal (SBD's benchmark: 0.02, BSDS: 0.0075).

    Returns:
        (4,) int64: matched and all predicted pixels, matched and all true pixels.

    Raises:
        ValueError: shapes differ.
    """
    if prediction_edges.shape != truth_edges.shape:
        raise ValueError(f"prediction {prediction_edges.shape} and truth {truth_edges.shape} must have one shape")
    reach = tolerance * float(np.hypot(*truth_edges.shape))
    counts = []
    for edges, others in ((prediction_edges, truth_edges), (truth_edges, prediction_edges)):
        near = distance_transform_edt(~others) <= reach if others.any() else np.zeros_like(others)
        counts += [np.count_nonzero(edges & near), np.count_nonzero(edges)]
    return np.array(counts, np.int64)


def precision_recall_f1(counts: np.ndarray) -> tuple[float, float, float]:
    """Precision, recall and their harmonic mean, in [0, 1], of the counts of `boundary_scores`.

    NaN where nothing is predicted or true; F1 is 0 where both are and nothing matches.
    """
    matched, predicted, found, true = map(int, counts)
    precision = matched / predicted if predicted else float("nan")
    recall = found / true if true else float("nan")
    both = precision + recall
    return precision, recall, 2 * precision * recall / both if both else 0.0
