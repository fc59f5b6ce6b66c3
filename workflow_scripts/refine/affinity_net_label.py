"""Label maps that AffinityNet learns from (Ahn and Kwak, CVPR 2018, Section 3.2)."""

from types import SimpleNamespace

import numpy as np

from workflow_scripts.data.maps import block_mean
from workflow_scripts.refine.dense_crf import dense_crf

UNKNOWN = 255


def training_label(image: np.ndarray, scores: np.ndarray, classes: np.ndarray, options: SimpleNamespace) -> np.ndarray:
    """AffinityNet's label map at the resolution of the features.

    The background is (1 - max score)^alpha. A low alpha makes it large, so that what is still object is sure object; a
    high alpha makes it small, so that what is still background is sure background. Both stacks are sharpened by a dense
    CRF and averaged over the cells before the arg-max; pooling labels would be wrong.

    Args:
        image: uint8 (H, W, 3) RGB.
        scores: (K, H, W), maps of the present classes divided by their maxima.
        classes: (K,) 0-based.
        options: the alphas `low` and `high`, `crf`, and `cell`, the pixels of a feature cell.

    Returns:
        uint8 (ceil(H / cell), ceil(W / cell)): 0 sure background, class + 1 sure object, 255 unknown.
    """
    crf, strongest = options.crf, scores.max(axis=0, initial=0)
    pooled = []
    for alpha in (options.low, options.high):
        stack = np.concatenate([((1 - strongest) ** alpha)[None], scores])
        posterior = dense_crf(image, stack, crf.bilateral, crf.gaussian, crf.iterations)
        pooled.append(block_mean(posterior, options.cell).argmax(axis=0))
    values = np.concatenate([[UNKNOWN], classes + 1]).astype(np.uint8)
    label = values[pooled[0]]
    label[pooled[1] == 0] = 0
    return label
