"""Filling rate: the share of a box that its object fills (Song et al., CVPR 2019; BANA, Fig. 4b)."""

import numpy as np

from workflow_scripts.data.boxes import region

VOID = 255


def filling_rates(label: np.ndarray, boxes: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """Share of each box's pixels that have its class in a label map.

    Args:
        label: uint8 (H, W): 0 background, class + 1 else, 255 ignored.
        boxes: (M, 5), x0, y0, x1, y1 in pixels and the 0-based class.
        counted: bool (H, W), pixels that count; all others are left out.

    Returns:
        (M,) float64 in [0, 1], NaN where no pixel of a box counts.
    """
    rates = np.full(len(boxes), np.nan)
    for number, box in enumerate(boxes):
        where = region(box, *label.shape)
        pixels = label[where][counted[where]]
        if pixels.size:
            rates[number] = (pixels == int(box[4]) + 1).mean()
    return rates
