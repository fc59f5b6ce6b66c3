"""Label maps that IRN learns from (Ahn, Cho and Kwak, CVPR 2019, Section 4.1)."""

from types import SimpleNamespace

import numpy as np

from workflow_scripts.refine.dense_crf import dense_crf

UNKNOWN = 255


def training_label(image: np.ndarray, scores: np.ndarray, classes: np.ndarray, options: SimpleNamespace) -> np.ndarray:
    """IRN's label map at image size: sure objects by a high background score, sure background by a low one.

    Args:
        image: uint8 (H, W, 3) RGB.
        scores: (K, H, W), maps divided by their maxima.
        classes: (K,) 0-based.
        options: `foreground` and `background`, the constant background scores of the two arg-maxes (0.30 and 0.05
            published); `crf`, whose unary is built from hard labels that are given the probability `belief`.

    Returns:
        uint8 (H, W): 0 sure background, class + 1 sure object, 255 unknown.
    """
    decisions = []
    for threshold in (options.foreground, options.background):
        stack = np.concatenate([np.full((1, *scores.shape[1:]), threshold, scores.dtype), scores])
        hard = stack.argmax(axis=0)
        labels = len(stack)
        believed = np.full(stack.shape, (1 - options.belief) / max(1, labels - 1), np.float32)
        np.put_along_axis(believed, hard[None], options.belief, axis=0)
        crf = options.crf
        decisions.append(dense_crf(image, believed, crf.bilateral, crf.gaussian, crf.iterations).argmax(axis=0))
    values = np.concatenate([[UNKNOWN], classes + 1]).astype(np.uint8)
    label = values[decisions[0]]
    label[(decisions[0] == 0) & (decisions[1] == 0)] = 0
    return label
