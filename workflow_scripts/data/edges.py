"""Boxes beside the edge of their image, which is cut off and which lies too far outside to be right, and beside each other."""

from collections.abc import Sequence

import numpy as np

Corners = tuple[float, float, float, float]  # x0, y0, x1, y1

ROUNDING = 1.0  # pixels; let through as it is, as some sources count from 0 and others from 1
# Over an edge, a little is up to so many pixels, or this share of the image's side where that is more...
PIXELS, SHARE = 5.0, 0.05
INSIDE = 0.5  # ...and at least so much of the area is inside


def around(parts: Sequence[np.ndarray]) -> Corners:
    """The box around polygons."""
    points = np.concatenate(parts)
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return float(x0), float(y0), float(x1), float(y1)


def is_inside(corners: Corners, height: int, width: int) -> bool:
    """Whether a box is in an image of height x width pixels, but for a pixel of rounding."""
    return _most_outside(corners, height, width, ROUNDING, ROUNDING)


def is_same(first: Corners, second: Corners) -> bool:
    """Whether two boxes are one, but for a pixel of rounding at each side."""
    return all(abs(one - other) <= ROUNDING for one, other in zip(first, second, strict=True))


def overlap(first: Corners, second: Corners) -> float:
    """Intersection over union of two boxes, 0 to 1; 0 where neither has an area."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    shared = max(0.0, width) * max(0.0, height)
    areas = ((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (first, second))
    return shared / (sum(areas) - shared) if shared else 0.0


def clipped(corners: Corners, height: int, width: int) -> Corners | None:
    """The box inside an image of height x width pixels; as it is where `is_inside`, None where it lies far outside.

    A little outside is at most 5 pixels or 5 % of the image's side, whichever is more, on each side, with at least half
    of the box's area in the image.
    """
    if is_inside(corners, height, width):
        return corners
    x0, y0, x1, y1 = corners
    left, top, right, bottom = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    little = _most_outside(corners, height, width, max(PIXELS, SHARE * width), max(PIXELS, SHARE * height))
    if not little or _part(left, right, x0, x1) * _part(top, bottom, y0, y1) < INSIDE:
        return None
    return left, top, right, bottom


def _most_outside(corners: Corners, height: int, width: int, x: float, y: float) -> bool:
    x0, y0, x1, y1 = corners
    return x0 >= -x and y0 >= -y and x1 <= width + x and y1 <= height + y


def _part(start: float, end: float, whole_start: float, whole_end: float) -> float:
    """How much of a span is left of it."""
    return max(0.0, end - start) / (whole_end - whole_start) if whole_end > whole_start else 1.0
