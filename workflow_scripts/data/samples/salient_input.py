"""How images are brought to a saliency network that takes squares of one size."""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.data.transforms import MEAN, resized

FILL = {"black": (0, 0, 0), "mean": tuple(round(255 * value) for value in MEAN)}


@dataclass(frozen=True)
class Square:
    """A padded image, uint8 (side, side, 3), and the slices of the image in the square before it was resized."""

    image: np.ndarray
    place: tuple[slice, slice]


def squared(image: np.ndarray, side: int, padding: str) -> Square:
    """Pad an image, uint8 (H, W, 3), about its centre to a square and resize that (PFAN's published code).

    Args:
        padding: "black", or "mean", which is zero after normalisation.
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    top, left = (longest - height) // 2, (longest - width) // 2
    place = (slice(top, top + height), slice(left, left + width))
    canvas = np.full((longest, longest, 3), FILL[padding], np.uint8)
    canvas[place] = image
    return Square(resized(canvas, side, side), place)


def squared_map(saliency: np.ndarray, side: int, nearest: bool = False) -> np.ndarray:
    """The same for a map, uint8 (H, W); padding is 0."""
    height, width = saliency.shape
    longest = max(height, width)
    top, left = (longest - height) // 2, (longest - width) // 2
    canvas = np.zeros((longest, longest), np.uint8)
    canvas[top : top + height, left : left + width] = saliency
    return resized(canvas, side, side, nearest)
