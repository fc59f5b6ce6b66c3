"""Pairs, labels, affinities and loss of AffinityNet and IRN: values of the published code, and definitions in loops."""

import math

import numpy as np
import pytest
import torch

from workflow_scripts.refine.affinity import (
    affinity_loss,
    line_offsets,
    pair_affinity,
    pair_edge_affinity,
    pair_indices,
    pair_labels,
    pair_offsets,
)


def golden_label() -> torch.Tensor:
    return torch.from_numpy(np.random.RandomState(0).choice([0, 1, 2, 255], size=(56, 56)).astype(np.uint8))


def test_pair_indices_are_the_published_ones():
    start, to = pair_indices(5, 56, 56)
    assert start.shape == (2496,) and to.shape == (34, 2496)
    assert (start[0], start[-1]) == (4, 2907)
    assert (to[0, 0], to[-1, -1]) == (5, 3133)
    assert (start.sum(), to.sum()) == (3_632_928, 133_049_280)


def test_published_degree_falls_towards_the_border():
    start, to = pair_indices(5, 14, 14)
    ends = torch.cat([start.expand_as(to).flatten(), to.flatten()])
    degree = torch.bincount(ends, minlength=196).view(14, 14)
    assert degree[0].tolist() == [0, 0, 0, 0, 34, 35, 36, 37, 38, 38, 4, 3, 2, 1]
    assert degree[6].tolist() == [2, 5, 9, 13, 51, 56, 59, 60, 59, 55, 17, 12, 7, 3]
    assert degree[13].tolist() == [0, 0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0, 0]


def test_irn_radius_has_the_published_number_of_pairs():
    start, to = pair_indices(10, 128, 128)
    assert start.shape == (13_090,) and to.shape == (152, 13_090)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (3, 4), (6, 12)])
@pytest.mark.parametrize("radius", [2, 3, 5])
def test_padded_pairs_are_all_near_pairs_of_the_map(size, radius):
    height, width = size
    start, to = pair_indices(radius, height, width, border="padded")
    found = {(int(i), int(j)) for i, j in zip(start.expand_as(to).flatten(), to.flatten(), strict=True) if j >= 0}
    cells = [(y, x) for y in range(height) for x in range(width)]
    expected = {
        (i, j)
        for i, (y, x) in enumerate(cells)
        for j, (v, u) in enumerate(cells)
        if i < j and (y - v) ** 2 + (x - u) ** 2 < radius**2
    }
    assert found == expected
    assert int((to >= 0).sum()) == len(expected)


def test_pair_labels_are_the_published_ones():
    background, foreground, negative = pair_labels(golden_label())
    assert background.shape == (34, 2496) and background.dtype == torch.bool
    assert (background.sum(), foreground.sum(), negative.sum()) == (5265, 10_459, 31_315)


def test_pair_labels_partition_the_known_pairs():
    label = golden_label()
    start, to = pair_indices(5, 56, 56)
    known = (label.flatten()[start] != 255) & (label.flatten()[to] != 255)
    assert torch.equal(sum(mask.int() for mask in pair_labels(label)), known.int())


def test_unknown_label_has_no_pairs_and_padding_is_unknown():
    unknown = torch.full((12, 13), 255, dtype=torch.uint8)
    assert not any(mask.any() for mask in pair_labels(unknown))
    background, foreground, negative = pair_labels(torch.zeros(6, 7, dtype=torch.uint8), border="padded")
    assert torch.equal(background, pair_indices(5, 6, 7, border="padded")[1] >= 0)
    assert not foreground.any() and not negative.any()


def test_batched_labels_equal_one_by_one():
    label = golden_label()
    batch = pair_labels(torch.stack([label, label.flip(0)]))
    for masks, first, second in zip(batch, pair_labels(label), pair_labels(label.flip(0)), strict=True):
        assert torch.equal(masks, torch.stack([first, second]))


def golden_affinity() -> torch.Tensor:
    features = np.random.RandomState(1).randn(1, 448, 3136).astype(np.float32)
    return pair_affinity(torch.from_numpy(features).view(1, 448, 56, 56))


def test_affinity_and_loss_are_the_published_ones():
    affinity = golden_affinity()
    assert affinity.shape == (1, 34, 2496)
    assert affinity.mean().item() == pytest.approx(0.3240262, rel=1e-5)
    assert affinity.min().item() == pytest.approx(0.2708718, rel=1e-5)
    assert affinity.max().item() == pytest.approx(0.3770905, rel=1e-5)
    background, foreground, negative = (mask[None] for mask in pair_labels(golden_label()))
    none = torch.zeros_like(background)
    assert 4 * affinity_loss(affinity, background, none, none).item() == pytest.approx(1.128672, rel=1e-5)
    assert 4 * affinity_loss(affinity, none, foreground, none).item() == pytest.approx(1.126834, rel=1e-5)
    assert 2 * affinity_loss(affinity, none, none, negative).item() == pytest.approx(0.392034, rel=1e-5)
    assert affinity_loss(affinity, background, foreground, negative).item() == pytest.approx(0.759894, rel=1e-5)


@pytest.mark.parametrize("border", ["published", "padded"])
@pytest.mark.parametrize("distance", ["mean", "sum"])
def test_affinity_is_the_exponential_of_the_distance(border, distance):
    features = torch.rand(2, 3, 7, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start, to = pair_indices(5, 7, 12, border)
    flat = features.flatten(2)
    difference = (flat[:, :, start][:, :, None] - flat[:, :, to.clamp_min(0)]).abs()
    expected = torch.exp(-getattr(difference, distance)(1)) * (to >= 0)
    torch.testing.assert_close(pair_affinity(features, 5, distance, border), expected)


def test_equal_features_have_affinity_one_and_gradients_stay_finite():
    features = torch.ones(1, 4, 6, 10, requires_grad=True)
    affinity = pair_affinity(features, border="padded")
    present = pair_indices(5, 6, 10, border="padded")[1] >= 0
    assert torch.equal(affinity[0], present.float())
    masks = pair_labels(torch.randint(0, 3, (6, 10)).byte(), border="padded")
    loss = affinity_loss(affinity, *(mask[None] for mask in masks))
    loss.backward()
    assert loss.isfinite() and features.grad.isfinite().all()


def test_positive_loss_of_certain_pairs_is_slightly_negative_as_published():
    ones, mask = torch.ones(1, 2, 3), torch.ones(1, 2, 3, dtype=torch.bool)
    assert affinity_loss(ones, mask, ~mask, ~mask).item() == pytest.approx(-math.log(1 + 1e-5) / 4, rel=1e-2)


def test_loss_is_zero_without_labels():
    none = torch.zeros(1, 34, 2496, dtype=torch.bool)
    assert affinity_loss(golden_affinity(), none, none, none).item() == 0


@pytest.mark.parametrize("size", [(1, 1), (4, 20), (20, 8), (1, 30)])
def test_small_maps_have_no_published_pairs(size):
    start, to = pair_indices(5, *size)
    assert start.shape == (0,) and to.shape == (34, 0)
    assert pair_affinity(torch.zeros(1, 2, *size)).shape == (1, 34, 0)
    assert pair_edge_affinity(torch.zeros(1, 1, *size), 5).shape == (1, 34, 0)
    assert all(mask.shape == (34, 0) for mask in pair_labels(torch.zeros(size, dtype=torch.uint8)))


def test_lines_hold_both_ends_and_what_lies_between():
    for offset in pair_offsets(10):
        line = line_offsets(offset)
        assert (0, 0) in line and offset in line
        mirrored = {(y, -x) for y, x in line_offsets((offset[0], -offset[1]))}
        assert offset[0] == 0 or mirrored == set(line)
    assert set(line_offsets((3, 0))) == {(0, 0), (1, 0), (2, 0), (3, 0)}
    assert set(line_offsets((2, 2))) == {(0, 0), (0, 1), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2)}
    assert set(line_offsets((1, -2))) == {(y, x) for y in (0, 1) for x in (0, -1, -2)}


@pytest.mark.parametrize("border", ["published", "padded"])
def test_edge_affinity_is_one_minus_the_highest_edge_on_the_line(border):
    height, width = 8, 13
    edge = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(1))
    affinity = pair_edge_affinity(edge, 5, border)[0]
    start, to = pair_indices(5, height, width, border)
    assert affinity.shape == to.shape
    for number, offset in enumerate(pair_offsets(5)):
        for column, (i, j) in enumerate(zip(start.tolist(), to[number].tolist(), strict=True)):
            y, x = divmod(i, width)
            line = [edge[0, 0, y + v, x + u].item() for v, u in line_offsets(offset)] if j >= 0 else [1.0]
            assert affinity[number, column].item() == pytest.approx(1 - max(line))


def test_unknown_options_are_refused():
    with pytest.raises(ValueError, match="border is 'mirror'"):
        pair_indices(5, 9, 9, border="mirror")
    with pytest.raises(ValueError, match="distance is 'max'"):
        pair_affinity(torch.zeros(1, 1, 9, 9), distance="max")
