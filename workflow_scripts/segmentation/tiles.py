"""Images too large for a network at once: predictions of tiles that overlap, joined without a seam.

A pixel near a tile's border lacks what lies beyond it, since the network sees zeros there. So the third of an overlap that is
next to a tile's border counts nothing; over the middle third the weight rises to 1. At every pixel the weights sum to 1.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from workflow_scripts.base.errors import UserError


class Block(NamedTuple):
    """A part of an image that is done: its place and its probabilities, float32 (L, rows, columns)."""

    rows: slice
    columns: slice
    probabilities: np.ndarray


class Tiling(NamedTuple):
    """Sides in pixels: of a tile, and of what two neighbours share, at most half a tile."""

    side: int
    overlap: int


def tiling(side: int, overlap: int, stride: int, align_corners: bool) -> Tiling:
    """Tiles on whole cells of a network, so that cells of all tiles lie on one grid; sides are rounded down to it.

    With `align_corners` the first and last cells lie on the first and last pixels, and a tile is a pixel more than its cells.

    Raises:
        UserError: the overlap is more than half a tile, or has no cell.
    """
    fitted = Tiling(side // stride * stride + align_corners, overlap // stride * stride + align_corners)
    if overlap < stride or 2 * fitted.overlap > fitted.side:
        raise UserError(
            f"--tile {side} --overlap {overlap}: pixels; give an overlap of at least {stride}, a cell of this network, and a "
            "tile of at least twice the overlap"
        )
    return fitted


def spans(length: int, tiles: Tiling) -> list[tuple[int, int]]:
    """First pixels of the tiles along a side of an image, and the pixels after their last; the last may be shorter."""
    step = tiles.side - tiles.overlap
    starts = range(0, max(1, length - tiles.overlap), step)
    return [(start, min(start + tiles.side, length)) for start in starts]


def weights(length: int, overlap: int, first: bool, last: bool) -> np.ndarray:
    """Weights along a side of a tile, float32 (length,): 1, and less over the overlaps with its neighbours.

    Args:
        first, last: whether the tile has no neighbour before or after it.
    """
    rising = np.clip((np.arange(overlap, dtype=np.float32) + 0.5) * 3 / overlap - 1, 0, 1)
    result = np.ones(length, np.float32)
    if not first:
        result[:overlap] *= rising
    if not last:
        result[length - overlap :] *= 1 - rising
    return result


def predicted(image: np.ndarray, soft: Callable[[np.ndarray], np.ndarray], tiles: Tiling) -> Iterator[Block]:
    """Blocks that cover an image once, row of tiles by row of tiles.

    What is held is one tile, and the overlap with the row above: (L, overlap, W).

    Args:
        image: uint8 (H, W, 3).
        soft: from a tile, uint8 (h, w, 3), to its probabilities, (L, h, w).
    """
    height, width = image.shape[:2]
    all_rows, all_columns, overlap = spans(height, tiles), spans(width, tiles), tiles.overlap
    above: np.ndarray | None = None
    for top, bottom in all_rows:
        highest, lowest = top == 0, bottom == height
        below: np.ndarray | None = None
        left_over: np.ndarray | None = None
        down = weights(bottom - top, overlap, highest, lowest)
        for left, right in all_columns:
            leftmost, rightmost = left == 0, right == width
            found = soft(image[top:bottom, left:right]).astype(np.float32)
            found *= down[:, None] * weights(right - left, overlap, leftmost, rightmost)
            if left_over is not None:
                found[..., :overlap] += left_over
            if not rightmost:
                left_over, found = found[..., -overlap:].copy(), found[..., :-overlap]
            columns = slice(left, left + found.shape[-1])
            if above is not None:
                found[:, :overlap] += above[..., columns]
            if not lowest:
                if below is None:
                    below = np.empty((len(found), overlap, width), np.float32)
                below[..., columns], found = found[:, -overlap:], found[:, :-overlap]
            yield Block(slice(top, top + found.shape[1]), columns, found)
        above = below
