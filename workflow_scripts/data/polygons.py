"""Polygons as regions of pixels."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Polygon(NamedTuple):
    """A region and the value that its pixels get.

    Attributes:
        value: of a label map: 0 background, 1..C classes, 255 ignored.
        points: (N, 2) float64, x and y in pixels from the upper left corner of the image.
    """

    value: int
    points: np.ndarray


def drawn(polygons: Iterable[Polygon], height: int, width: int) -> np.ndarray:
    """The label map of polygons, uint8 (height, width): background, and each polygon on top of those before it."""
    label = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        label[inside(polygon.points, height, width)] = polygon.value
    return label


def inside(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Which pixels have their centre inside a polygon, bool (height, width).

    The pixel of row r and column c has its centre at x = c + 0.5, y = r + 0.5. A centre on an edge to the left of the polygon or
    above it is inside, one on an edge to the right or below is not, so that of polygons that share an edge exactly one has each
    pixel. Where a polygon crosses itself, what it goes around twice is outside (even-odd rule). What is outside the image is cut off.

    Args:
        points: (N, 2) x and y in pixels; the last is joined to the first.
    """
    turns = np.zeros((height, width + 1), bool)  # where a row goes in or out of the polygon
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 > y1:  # an edge is the same numbers whichever way it goes
            x0, y0, x1, y1 = x1, y1, x0, y0
        first, end = (int(np.clip(np.ceil(y - 0.5), 0, height)) for y in (y0, y1))
        rows = np.arange(first, end)
        crossings = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0) if end > first else np.zeros(0)
        turns[rows, np.clip(np.ceil(crossings - 0.5), 0, width).astype(int)] ^= True
    return np.logical_xor.accumulate(turns, axis=1)[:, :width]
