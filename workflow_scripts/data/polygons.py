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
        window, inside = region(polygon.points, height, width)
        label[window][inside] = polygon.value
    return label


def region(points: np.ndarray, height: int, width: int) -> tuple[tuple[slice, slice], np.ndarray]:
    """Rows and columns around a polygon, and which of their pixels have their centre inside it, bool (rows, columns).

    The pixel of row r and column c has its centre at x = c + 0.5, y = r + 0.5. A centre on an edge to the left of the polygon or
    above it is inside, one on an edge to the right or below is not, so that of polygons that share an edge exactly one has each
    pixel. Where a polygon crosses itself, what it goes around twice is outside (even-odd rule). What is outside the image is cut off.

    Args:
        points: (N, 2) x and y in pixels; the last is joined to the first.
        height, width: of the image in pixels.
    """
    (left, top), (right, bottom) = (
        np.clip(np.ceil(corner - 0.5), 0, [width, height]).astype(int)
        for corner in (points.min(axis=0), points.max(axis=0))
    )
    turns = np.zeros((bottom - top, right - left + 1), bool)  # where a row goes in or out of the polygon
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 > y1:  # an edge is the same numbers whichever way it goes
            x0, y0, x1, y1 = x1, y1, x0, y0
        first, end = np.clip(np.ceil(np.array([y0, y1]) - 0.5), top, bottom).astype(int)
        if first == end:
            continue
        rows = np.arange(first, end)
        crossings = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
        turns[rows - top, np.clip(np.ceil(crossings - 0.5), left, right).astype(int) - left] ^= True
    return (slice(top, bottom), slice(left, right)), np.logical_xor.accumulate(turns, axis=1)[:, :-1]
