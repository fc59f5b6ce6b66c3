"""Segmentations of COCO: polygons, or runs as numbers or as text (Lin et al., ECCV 2014)."""

import math
from typing import Any

import numpy as np
from pycocotools import mask as rle

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.edges import Corners, around, clipped, is_inside
from workflow_scripts.data.readers.images import MAX_PIXELS
from workflow_scripts.data.readers.json_lists import is_number


def is_empty(segmentation: Any) -> bool:
    """Whether there is no outline at all: nothing, or polygons of fewer than three points alone."""
    return segmentation is None or segmentation == {} or polygons(segmentation) == []


def polygons(segmentation: Any) -> list[np.ndarray] | None:
    """The points (x, y) of each polygon that has three or more, float64 (N, 2); None where these are no polygons."""
    if not isinstance(segmentation, list) or not all(_is_polygon(part) for part in segmentation):
        return None
    return [np.array(part, float).reshape(-1, 2) for part in segmentation if len(part) >= 6]


def corners(segmentation: Any) -> Corners | None:
    """The box around a segmentation, in pixels; None where there is no outline, or it has no pixel.

    Raises:
        ValueError: neither polygons nor runs.
    """
    if is_empty(segmentation) or polygons(segmentation):
        return around_polygons(segmentation)
    encoded = _of_runs(segmentation)
    x, y, width, height = map(float, rle.toBbox(encoded))
    return (x, y, x + width, y + height) if width and height else None


def around_polygons(segmentation: Any) -> Corners | None:
    """The box around a segmentation's polygons, in pixels; None where it has none."""
    parts = polygons(segmentation)
    return around(parts) if parts else None


def stated_size(segmentation: Any) -> tuple[int, int] | None:
    """Height and width of the image that runs are of; None where the segmentation has no sound ones."""
    size: Any = segmentation.get("size") if isinstance(segmentation, dict) else None
    sound = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    return (size[0], size[1]) if sound else None


def encode(segmentation: Any, size: tuple[int, int], where: str) -> dict:
    """Run-length encoded pixels of a segmentation.

    Args:
        segmentation: as COCO has it; polygons that reach a little over the edge of the image are cut off there.
        size: height and width of the image in pixels.
        where: the file and the annotation, for the errors.

    Raises:
        UserError: no segmentation, of an image of another size, or far outside its image.
    """
    height, width = size
    if parts := polygons(segmentation):
        x0, y0, x1, y1 = box = around(parts)
        if clipped(box, height, width) is None:
            raise UserError(
                f"{where}: its outline, from {x0:g} {y0:g} to {x1:g} {y1:g}, lies outside the image of {width} x {height} pixels; "
                "correct it or restore the image it was drawn on"
            )
        if is_inside(box, height, width):
            return _drawn([np.clip(part, 0, [width, height]) for part in parts], height, width)
        edge = math.ceil(max(-x0, -y0, x1 - width, y1 - height))
        wide = rle.decode(_drawn([part + edge for part in parts], height + 2 * edge, width + 2 * edge))
        return rle.encode(np.asfortranarray(wide[edge:-edge, edge:-edge]))
    stated = stated_size(segmentation)
    if stated not in (None, size):
        raise UserError(
            f"{where}: its segmentation is of an image of {stated[1]} x {stated[0]} pixels, the image has {width} x {height}; "
            "restore the image that was annotated, or export the file again"
        )
    try:
        return _of_runs(segmentation)
    except ValueError:
        raise UserError(
            f"{where}: its segmentation is neither polygons nor runs of an image of {height} x {width} (H x W); restore the file"
        ) from None


def _drawn(parts: list[np.ndarray], height: int, width: int) -> dict:
    return rle.merge(rle.frPyObjects([part.ravel().tolist() for part in parts], height, width))


def runs(text: str) -> list[int] | None:
    """The run lengths that COCO writes as text, or None where it is no such text.

    Six bits a character, from "0": five of the number, low ones first, and one that tells that it goes on; from the
    fourth on, numbers are the difference from the one two before.
    """
    found: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        value -= (1 << shift) if bits & 16 else 0
        found.append(value + (found[-2] if len(found) > 2 else 0))
        value = shift = 0
    return found if shift == 0 else None


def _of_runs(segmentation: Any) -> dict:
    """Runs, checked: the decoder would leave pixels that they do not cover as memory had them."""
    size = stated_size(segmentation)
    if size is None or size[0] * size[1] > MAX_PIXELS:
        raise ValueError("no runs")
    counts: Any = segmentation.get("counts")
    counts = runs(counts) if isinstance(counts, str) else counts
    whole = isinstance(counts, list) and all(type(value) is int and value >= 0 for value in counts)
    if not whole or sum(counts) != size[0] * size[1]:
        raise ValueError("no runs")
    return rle.frPyObjects({"size": list(size), "counts": counts}, *size)


def _is_polygon(part: Any) -> bool:
    return isinstance(part, list) and all(is_number(value) for value in part) and len(part) % 2 == 0
