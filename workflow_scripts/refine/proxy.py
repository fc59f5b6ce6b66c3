"""Proxy labels from attention and saliency (SeeNet, Hou et al., NeurIPS 2018, Algorithm 1)."""

import numpy as np

IGNORE = 255


def harmonic_mean(attention: np.ndarray, saliency: np.ndarray, weight: float = 1.0) -> np.ndarray:
    """(w + 1) / (w / A + 1 / D), 0 where either is 0 (SeeNet, Eq. 3).

    Args:
        attention: (K, H, W) in [0, 1].
        saliency: (H, W) in [0, 1].
        weight: w > 0, of the attention; 1 published.

    Returns:
        float32 (K, H, W) in [0, 1].
    """
    attention, saliency = attention.astype(np.float32), saliency.astype(np.float32)
    below = weight * saliency + attention
    product = (weight + 1) * attention * saliency
    return np.divide(product, below, out=np.zeros_like(product), where=below > 0)


def proxy_scores(attention: np.ndarray, saliency: np.ndarray, weight: float = 1.0) -> np.ndarray:
    """Background 1 - saliency before every class's harmonic mean: float32 (K + 1, H, W); arguments as above."""
    return np.concatenate([1 - saliency[None].astype(np.float32), harmonic_mean(attention, saliency, weight)])


def harmonic_proxy(attention: np.ndarray, saliency: np.ndarray, labels: np.ndarray, weight: float = 1.0) -> np.ndarray:
    """Label map of Algorithm 1: arg-max over background and the image's classes; a tie is background.

    Args:
        attention: (C, H, W) in [0, 1], of all classes.
        saliency: (H, W) in [0, 1].
        labels: (C,) 0/1.
        weight: of the attention in the harmonic mean.

    Returns:
        uint8 (H, W): 0 background, class + 1 else.
    """
    classes = np.flatnonzero(labels)
    values = np.concatenate([[0], classes + 1]).astype(np.uint8)
    return values[proxy_scores(attention[classes], saliency, weight).argmax(axis=0)]


def ignored(attention: np.ndarray, saliency: np.ndarray, conflict: float | None, unsalient: float | None) -> np.ndarray:
    """Pixels that the author of SeeNet advises to leave out of the loss (public answer, SeeNet issue 5): bool (H, W).

    Args:
        attention: (K, H, W) in [0, 1].
        saliency: (H, W) in [0, 1].
        conflict: two classes have attention above it; None for no such rule.
        unsalient: saliency is below it (32/255 in that answer); None for no such rule.
    """
    out = np.zeros(saliency.shape, bool)
    if conflict is not None and len(attention) > 1:
        out |= (attention > conflict).sum(axis=0) > 1
    if unsalient is not None:
        out |= saliency < unsalient
    return out
