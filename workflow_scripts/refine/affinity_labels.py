"""Labels that affinity networks learn from: where the maps of a classifier are sure (AffinityNet, CVPR 2018; IRN, CVPR 2019)."""

import numpy as np

from workflow_scripts.refine.background import block_mean
from workflow_scripts.refine.dense_crf import dense_crf

UNKNOWN = 255


def affinity_net_label(
    image: np.ndarray, scores: np.ndarray, classes: np.ndarray, low: float, high: float, crf, cell: int
) -> np.ndarray:
    """AffinityNet's label map at the resolution of the features.

    The background is (1 - max score)^alpha. A low alpha makes it large, so that what is still object is sure object; a
    high alpha makes it small, so that what is still background is sure background. Both stacks are sharpened by a dense
    CRF and averaged over the cells before the arg-max; pooling labels would be wrong.

    Args:
        image: uint8 (H, W, 3) RGB.
        scores: (K, H, W), maps of the present classes divided by their maxima.
        classes: (K,) 0-based.
        low, high: the two alphas.
        crf: `bilateral`, `gaussian`, `iterations` of `dense_crf`.
        cell: pixels per feature cell.

    Returns:
        uint8 (ceil(H / cell), ceil(W / cell)): 0 sure background, class + 1 sure object, 255 unknown.
    """
    strongest = scores.max(axis=0, initial=0)
    pooled = []
    for alpha in (low, high):
        stack = np.concatenate([((1 - strongest) ** alpha)[None], scores])
        posterior = dense_crf(image, stack, crf.bilateral, crf.gaussian, crf.iterations)
        pooled.append(block_mean(posterior, cell).argmax(axis=0))
    values = np.concatenate([[UNKNOWN], classes + 1]).astype(np.uint8)
    label = values[pooled[0]]
    label[pooled[1] == 0] = 0
    return label


def irn_label(
    image: np.ndarray, scores: np.ndarray, classes: np.ndarray, foreground: float, background: float, crf
) -> np.ndarray:
    """IRN's label map at image size: sure objects by a high background score, sure background by a low one.

    Args:
        image: uint8 (H, W, 3) RGB.
        scores: (K, H, W), maps divided by their maxima.
        classes: (K,) 0-based.
        foreground, background: constant background scores of the two arg-maxes (0.30 and 0.05 published).
        crf: as above; its unary is built from hard labels, of which 0.7 is believed.

    Returns:
        uint8 (H, W): 0 sure background, class + 1 sure object, 255 unknown.
    """
    decisions = []
    for threshold in (foreground, background):
        stack = np.concatenate([np.full((1, *scores.shape[1:]), threshold, scores.dtype), scores])
        hard = stack.argmax(axis=0)
        labels = len(stack)
        believed = np.full(stack.shape, (1 - 0.7) / max(1, labels - 1), np.float32)
        np.put_along_axis(believed, hard[None], 0.7, axis=0)
        decisions.append(dense_crf(image, believed, crf.bilateral, crf.gaussian, crf.iterations).argmax(axis=0))
    values = np.concatenate([[UNKNOWN], classes + 1]).astype(np.uint8)
    label = values[decisions[0]]
    label[(decisions[0] == 0) & (decisions[1] == 0)] = 0
    return label
