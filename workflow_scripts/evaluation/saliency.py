"""How well saliency maps separate the objects from the background, with the measures of the saliency literature.

The truth is a label map: 0 is background, `ignore` is left out, every other class is foreground. Saliency is float
in [0, 1] or uint8 in 0..255.
"""

from collections.abc import Iterable

import numpy as np

LEVELS = 256  # thresholds of the precision-recall curve: one a grey level


def foreground_iou(saliency: np.ndarray, truth: np.ndarray, threshold: float = 0.5, ignore: int = 255) -> float:
    """Intersection over union of {saliency > threshold} and the foreground of one image.

    Args:
        saliency: (H, W) float in [0, 1] or uint8.
        truth: (H, W) integer label map.
        threshold: in [0, 1]; saliency equal to it is background.
        ignore: label of the pixels that do not count.

    Returns:
        In [0, 1]; NaN where neither has a foreground pixel.
    """
    saliency, foreground = _counted_pixels(saliency, truth, ignore)
    salient = saliency > threshold
    union = (salient | foreground).sum()
    return float((salient & foreground).sum() / union) if union else float("nan")


def mean_absolute_error(saliency: np.ndarray, truth: np.ndarray, ignore: int = 255) -> float:
    """Mean |saliency - foreground| over the pixels of one image, in [0, 1]; NaN where no pixel counts.

    Args as `foreground_iou`. The saliency field averages this over images, each with the same weight.
    """
    saliency, foreground = _counted_pixels(saliency, truth, ignore)
    return float(np.abs(saliency - foreground).mean()) if saliency.size else float("nan")


def precision_recall(saliency: np.ndarray, truth: np.ndarray, ignore: int = 255) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of {saliency >= t / 255} for t = 0..255 on one image.

    Args as `foreground_iou`; float saliency is rounded to 256 grey levels first.

    Returns:
        precision (256,) float64, NaN where nothing is salient; recall (256,), NaN where the truth has no foreground.
    """
    saliency, foreground = _counted_pixels(saliency, truth, ignore)
    level = np.rint(saliency * (LEVELS - 1)).astype(np.int64)
    # Counts of the pixels at or above each level.
    salient = np.bincount(level, minlength=LEVELS)[::-1].cumsum()[::-1]
    hits = np.bincount(level[foreground], minlength=LEVELS)[::-1].cumsum()[::-1]
    precision = np.divide(hits, salient, out=np.full(LEVELS, np.nan), where=salient > 0)
    recall = hits / foreground.sum() if foreground.any() else np.full(LEVELS, np.nan)
    return precision, recall


def f_measure(precision: np.ndarray, recall: np.ndarray, beta_squared: float = 0.3) -> np.ndarray:
    """(1 + b) P R / (b P + R) with b = `beta_squared`: precision weighs more than recall; 0 where both are 0.

    Source: Achanta et al., CVPR 2009, Eq. 7. NaN stays NaN.
    """
    precision, recall = np.asarray(precision, dtype=np.float64), np.asarray(recall, dtype=np.float64)
    denominator = beta_squared * precision + recall
    return (1 + beta_squared) * precision * recall / np.where(denominator == 0, 1, denominator)


def max_f_measure(curves: Iterable[tuple[np.ndarray, np.ndarray]], beta_squared: float = 0.3) -> float:
    """The best F-measure over the 256 thresholds, for a whole data set.

    Precision and recall are averaged over images at each threshold, and the F-measure is taken of the two averages;
    pixels are not pooled, so a small image weighs as much as a large one. Images without foreground are left out. A
    threshold at which an image has nothing salient counts as precision 0 for that image.

    Args:
        curves: the `precision_recall` of every image.
        beta_squared: weight of recall.

    Returns:
        In [0, 1]; NaN where no image has a foreground.
    """
    total, images = np.zeros((2, LEVELS)), 0
    for precision, recall in curves:
        if not np.isnan(recall).any():
            total += np.nan_to_num(precision), recall
            images += 1
    if not images:
        return float("nan")
    precision, recall = total / images
    return float(f_measure(precision, recall, beta_squared).max())


def adaptive_f_measure(saliency: np.ndarray, truth: np.ndarray, beta_squared: float = 0.3, ignore: int = 255) -> float:
    """F-measure of {saliency >= t} on one image, t being twice the mean of its map, at most 1.

    Args as `foreground_iou`. The saliency field averages this over images (Achanta et al., CVPR 2009).

    Returns:
        In [0, 1]; NaN where the truth has no foreground.
    """
    saliency, foreground = _counted_pixels(saliency, truth, ignore)
    if not foreground.any():
        return float("nan")
    salient = saliency >= min(1.0, 2 * saliency.mean())
    hits = (salient & foreground).sum()
    return float(f_measure(hits / max(1, salient.sum()), hits / foreground.sum(), beta_squared))


def _counted_pixels(saliency: np.ndarray, truth: np.ndarray, ignore: int) -> tuple[np.ndarray, np.ndarray]:
    """The saliency (float64 in [0, 1]) and the foreground (bool) of the pixels that count, both flat."""
    saliency, truth = np.asarray(saliency), np.asarray(truth)
    if saliency.shape != truth.shape:
        raise ValueError(f"saliency {saliency.shape} and truth {truth.shape} must have one shape")
    counted = truth != ignore
    scale = 255.0 if saliency.dtype == np.uint8 else 1.0
    values = saliency[counted] / scale
    # Written so that NaN is refused too.
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError("saliency must be uint8 or lie in [0, 1]")
    return values.astype(np.float64), truth[counted] != 0
