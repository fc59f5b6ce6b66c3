"""Predictions of tiles, joined: what covers an image, how overlaps are weighed, and that no seam is left."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.base.errors import UserError
from workflow_scripts.segmentation.tiles import Tiling, predicted, spans, tiling, weights

EXAMPLES = settings(max_examples=40, deadline=None)
SHAPES = st.integers(2, 12).flatmap(lambda overlap: st.tuples(st.integers(2 * overlap, 40), st.just(overlap)))


def joined(image, soft, tiles):
    """All blocks in one array; each pixel comes once."""
    whole = np.full((3, *image.shape[:2]), np.nan, np.float32)
    for rows, columns, probabilities in predicted(image, soft, tiles):
        assert np.isnan(whole[:, rows, columns]).all()
        whole[:, rows, columns] = probabilities
    assert not np.isnan(whole).any()
    return whole


def colours(tile):
    return tile.transpose(2, 0, 1).astype(np.float32)


@EXAMPLES
@given(length=st.integers(1, 200), shape=SHAPES)
def test_weights_of_neighbours_sum_to_one(length, shape):
    tiles = Tiling(*shape)
    places, total = spans(length, tiles), np.zeros(length)
    assert places[0][0] == 0 and places[-1][1] == length
    for start, stop in places:
        assert stop - start <= tiles.side and start % (tiles.side - tiles.overlap) == 0
        assert len(places) == 1 or stop - start > tiles.overlap
        total[start:stop] += weights(stop - start, tiles.overlap, start == 0, stop == length)
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_the_border_of_a_tile_counts_nothing_and_its_middle_all():
    expected = [0, 0, 1 / 4, 3 / 4, 1, 1, 1, 1, 1, 1, 3 / 4, 1 / 4, 0, 0]
    np.testing.assert_allclose(weights(14, 6, False, False), expected, atol=1e-6)
    assert (weights(14, 6, True, True) == 1).all()


@EXAMPLES
@given(height=st.integers(1, 90), width=st.integers(1, 90), shape=SHAPES)
def test_what_tiles_agree_on_is_the_result(height, width, shape):
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    np.testing.assert_allclose(joined(image, colours, Tiling(*shape)), colours(image), rtol=1e-5)


def test_what_a_border_spoils_is_not_seen():
    """A network whose receptive field reaches a third of the overlap gives the same of tiles as of the whole image."""
    image, reach = np.random.default_rng(0).integers(0, 255, (100, 130, 3), np.uint8), 4

    def soft(tile):
        padded = np.pad(tile.astype(np.float32), ((reach, reach), (reach, reach), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * reach + 1, 2 * reach + 1), (0, 1))
        return windows.mean(axis=(-2, -1)).transpose(2, 0, 1)

    whole = soft(image)
    np.testing.assert_allclose(joined(image, soft, Tiling(40, 12)), whole, rtol=1e-4)
    assert np.abs(joined(image, soft, Tiling(40, 9)) - whole).max() > 1  # which reaches too far


def test_tiles_lie_on_the_cells_of_the_network():
    assert tiling(1000, 250, 16, False) == (992, 240)
    assert tiling(1000, 250, 16, True) == (993, 241)
    for side, overlap in ((100, 60), (100, 7), (4, 8)):
        with pytest.raises(UserError, match=f"--tile {side} --overlap {overlap}: pixels; give"):
            tiling(side, overlap, 8, False)
