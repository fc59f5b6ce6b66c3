"""Random walk: published values, an independent dense walk in double precision, and the invariants of the method."""

import numpy as np
import pytest
import torch

from workflow_scripts.refine.affinity import pair_affinity, pair_indices, pair_offsets
from workflow_scripts.refine.edge_walk_mask import walked_maps
from workflow_scripts.refine.random_walk import (
    at_image_size,
    power_series,
    propagate,
    propagate_along_edges,
    propagate_pairs,
    transition_matrix,
)

SIZES = [(1, 1), (1, 7), (8, 1), (3, 4), (5, 9), (7, 12)]


def dense_transition(pairs: dict[tuple[int, int], float], vertices: int, beta: float) -> np.ndarray:
    """T of a list of pairs by its definition, in double precision."""
    affinity = np.eye(vertices)
    for (i, j), weight in pairs.items():
        affinity[i, j] = affinity[j, i] = weight
    powered = affinity**beta
    return powered / powered.sum(axis=0)


def dense_walk(scores: torch.Tensor, transition: np.ndarray, log_steps: int) -> np.ndarray:
    for _ in range(log_steps):
        transition = transition @ transition
    return (scores.double().numpy().reshape(len(scores), -1) @ transition).reshape(scores.shape)


def near_pairs(height: int, width: int, border: str, radius: int = 5) -> list[tuple[int, int, int, int]]:
    """(y, x, v, u) of all pairs, from the definition of the border."""
    margin = radius - 1 if border == "published" else 0
    return [
        (y, x, y + dy, x + dx)
        for y in range(height - margin)
        for x in range(margin, width - margin)
        for dy in range(radius)
        for dx in range(1 - radius, radius)
        if (dy > 0 or dx > 0) and dy * dy + dx * dx < radius**2 and y + dy < height and 0 <= x + dx < width
    ]


def random_inputs(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.rand(4, height, width, generator=generator),
        0.5 * torch.randn(6, height, width, generator=generator),
    )


def test_walk_is_the_published_one():
    features = torch.from_numpy((0.3 * np.random.RandomState(2).randn(1, 448, 500)).astype(np.float32))
    scores = torch.from_numpy(np.random.RandomState(3).rand(21, 500).astype(np.float32))
    walked = propagate(scores.view(21, 20, 25), features.view(448, 20, 25), beta=8, log_steps=6).flatten(1)
    assert walked.sum().item() == pytest.approx(5222.1533, rel=1e-5)
    assert walked[0, :3].tolist() == pytest.approx([0.5507979, 0.7081478, 0.2909047], rel=1e-5)
    assert walked[5, 262].item() == pytest.approx(0.473713, rel=1e-5)
    histogram = torch.bincount(walked.argmax(0), minlength=21).tolist()
    assert histogram == [0, 1, 1, 0, 0, 0, 3, 1, 4, 0, 0, 1, 0, 1, 0, 0, 2, 485, 0, 0, 1]


@pytest.mark.parametrize("border", ["published", "padded"])
@pytest.mark.parametrize("distance", ["mean", "sum"])
@pytest.mark.parametrize("size", SIZES)
def test_walk_equals_dense_squaring(size, distance, border):
    scores, features = random_inputs(*size)
    pairs = {}
    for y, x, v, u in near_pairs(*size, border):
        difference = (features[:, y, x] - features[:, v, u]).double().abs()
        pairs[y * size[1] + x, v * size[1] + u] = float(torch.exp(-getattr(difference, distance)()))
    expected = dense_walk(scores, dense_transition(pairs, scores[0].numel(), 8), 8)
    walked = propagate(scores, features, distance=distance, border=border)
    assert walked.dtype == torch.float32 and walked.shape == scores.shape
    np.testing.assert_allclose(walked.numpy(), expected, atol=1e-5)
    exact = propagate(scores.double(), features.double(), distance=distance, border=border)
    np.testing.assert_allclose(exact.numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
def test_edge_walk_equals_dense_squaring(size):
    scores, _ = random_inputs(*size)
    edge = 0.6 * torch.rand(size, generator=torch.Generator().manual_seed(7))
    pairs = {}
    for y, x, v, u in near_pairs(*size, "padded"):
        dy, dx = v - y, u - x
        line = [
            edge[b, a].item()
            for b in range(min(y, v), max(y, v) + 1)
            for a in range(min(x, u), max(x, u) + 1)
            if abs(dy * (a - x) - dx * (b - y)) / np.hypot(dy, dx) < 1
        ]
        pairs[y * size[1] + x, v * size[1] + u] = 1 - max(line)
    expected = dense_walk(scores * (1 - edge), dense_transition(pairs, scores[0].numel(), 10), 8)
    np.testing.assert_allclose(propagate_along_edges(scores, edge).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("border", ["published", "padded"])
def test_rows_of_the_transposed_transition_sum_to_one_and_hold_no_zeros(border):
    _, features = random_inputs(15, 20)
    matrix = transition_matrix(pair_affinity(features[None], border=border)[0], 15, 20, border=border)
    torch.testing.assert_close(matrix.to_dense().sum(1), torch.ones(300, dtype=torch.float64))
    assert (matrix.values() != 0).all()
    pairs = int((pair_indices(5, 15, 20, border)[1] >= 0).sum())
    assert matrix.values().numel() == 300 + 2 * pairs


@pytest.mark.parametrize("border", ["published", "padded"])
def test_constant_maps_stay_constant(border):
    _, features = random_inputs(15, 20)
    walked = propagate(torch.ones(2, 15, 20), features, border=border)
    torch.testing.assert_close(walked, torch.ones(2, 15, 20), atol=1e-5, rtol=0)


def test_published_border_leaves_isolated_positions_as_they_are():
    scores, features = random_inputs(15, 20)
    start, to = pair_indices(5, 15, 20)
    isolated = torch.ones(300, dtype=torch.bool)
    isolated[start] = False
    isolated[to.flatten()] = False
    assert isolated.sum() == 10
    unchanged = (propagate(scores, features) == scores).all(0).flatten()
    assert torch.equal(unchanged, isolated)
    assert not (propagate(scores, features, border="padded") == scores).all(0).any()


@pytest.mark.parametrize("size", [(1, 1), (4, 30), (30, 8)])
def test_maps_without_published_pairs_stay_as_they_are(size):
    scores, features = random_inputs(*size)
    assert torch.equal(propagate(scores, features), scores)


def test_walks_compose():
    scores, features = random_inputs(9, 14)
    affinity = pair_affinity(features[None].double())[0]
    twice = propagate_pairs(propagate_pairs(scores, affinity, log_steps=3), affinity, log_steps=3)
    torch.testing.assert_close(twice, propagate_pairs(scores, affinity, log_steps=4))


def test_walk_stays_within_the_scores_of_each_map():
    scores, features = random_inputs(12, 17)
    walked = propagate(scores, features, border="padded")
    low, high = scores.amin((1, 2)), scores.amax((1, 2))
    assert (walked.amin((1, 2)) >= low - 1e-6).all() and (walked.amax((1, 2)) <= high + 1e-6).all()


def test_one_step_without_edges_is_the_mean_of_the_neighbourhood():
    scores, _ = random_inputs(11, 13)
    walked = propagate_along_edges(scores, torch.zeros(11, 13), log_steps=0)
    for y, x in [(0, 0), (5, 6), (10, 12), (3, 11)]:
        near = [scores[:, v, u] for v in range(11) for u in range(13) if (v - y) ** 2 + (u - x) ** 2 < 25]
        torch.testing.assert_close(walked[:, y, x], torch.stack(near).mean(0))


def test_edges_everywhere_silence_the_maps():
    scores, _ = random_inputs(6, 8)
    assert not propagate_along_edges(scores, torch.ones(6, 8)).any()


@pytest.mark.parametrize(("stride", "height", "width"), [(4, 37, 41), (8, 33, 30), (4, 12, 8), (4, 1, 3)])
def test_walked_maps_are_enlarged_by_the_stride_and_cut(stride, height, width):
    """A ramp over the columns says where each pixel is taken: the image's size does not matter."""
    rows, columns = -(-height // stride), -(-width // stride)
    ramp = torch.arange(columns).float().expand(1, rows, columns)
    expected = ((torch.arange(width) + 0.5) / stride - 0.5).clamp(0, columns - 1)
    full = at_image_size(ramp, stride, height, width)
    torch.testing.assert_close(full, expected.expand(1, height, width))
    downwards = torch.arange(rows).float()[:, None].expand(1, rows, columns)
    expected = ((torch.arange(height) + 0.5) / stride - 0.5).clamp(0, rows - 1)[:, None]
    torch.testing.assert_close(at_image_size(downwards, stride, height, width), expected.expand(1, height, width))


def test_walked_maps_of_irn_have_one_maximum_of_1_and_stay_empty():
    """Their order is kept: what one map loses on an edge, the others do not make up for."""
    scores = torch.zeros(2, 10, 11)
    scores[0, 2:5, 2:5], scores[1, 6:8, 6:9] = 1, 0.4
    full = walked_maps(scores, torch.zeros(10, 11), (37, 41), log_steps=0)
    assert full.shape == (2, 37, 41) and full.max() == 1 and 0 < full[1].max() < 0.5
    walked = propagate_along_edges(scores, torch.zeros(10, 11), log_steps=0)
    torch.testing.assert_close(full, at_image_size(walked, 4, 37, 41) / at_image_size(walked, 4, 37, 41).max())
    assert not walked_maps(scores, torch.ones(10, 11), (37, 41)).any()
    assert not walked_maps(0 * scores, torch.zeros(10, 11), (37, 41)).any()


def test_a_closed_edge_separates_its_two_sides():
    scores = torch.zeros(1, 9, 20)
    scores[:, :, :10] = 1
    edge = torch.zeros(9, 20)
    edge[:, 10] = 1
    walked = propagate_along_edges(scores, edge)
    torch.testing.assert_close(walked, scores, atol=1e-5, rtol=0)


def test_strong_affinity_spreads_and_weak_does_not():
    scores = torch.zeros(1, 10, 24)
    scores[0, 5, 4] = 1
    features = torch.zeros(1, 10, 24)
    features[:, :, 12:] = 3
    walked = propagate(scores, features, border="padded")[0]
    assert walked[:, :12].min() > 20 * walked[:, 12:].max()


def test_weights_that_vanish_are_no_pairs():
    affinity = torch.zeros(len(pair_offsets(5)), 60)
    matrix = transition_matrix(affinity, 6, 10, border="padded")
    assert torch.equal(matrix.to_dense(), torch.eye(60, dtype=torch.float64))
    assert matrix.values().numel() == 60


def test_affinities_of_pairs_outside_the_map_do_not_count():
    everywhere = torch.full((len(pair_offsets(5)), 60), 0.5)
    inside = everywhere * (pair_indices(5, 6, 10, border="padded")[1] >= 0)
    expected = transition_matrix(inside, 6, 10, border="padded").to_dense()
    assert torch.equal(transition_matrix(everywhere, 6, 10, border="padded").to_dense(), expected)


@pytest.mark.parametrize("exponent", [1, 2, 4, 64, 256, 1024])
def test_power_series_is_the_power_on_the_whole_spectrum(exponent):
    series = power_series(exponent)
    points = np.concatenate([np.linspace(-1, 1, 2001), 1 - np.logspace(-8, -1, 200)])
    np.testing.assert_allclose(np.polynomial.chebyshev.chebval(points, series), points**exponent, atol=2e-10)
    assert len(series) - 1 <= min(exponent, np.sqrt(2 * exponent * np.log(2e10)) + 1)


def test_inputs_are_not_changed_and_hold_no_gradient():
    scores, features = random_inputs(9, 14)
    copies = scores.clone(), features.clone()
    walked = propagate(scores.requires_grad_(), features.requires_grad_())
    assert not walked.requires_grad
    assert torch.equal(scores, copies[0]) and torch.equal(features, copies[1])


def test_walk_without_a_compressed_product_is_the_same(monkeypatch):
    scores, features = random_inputs(9, 14)
    expected = propagate(scores, features)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    torch.testing.assert_close(propagate(scores, features), expected)


def test_number_of_threads_stays_and_does_not_matter():
    scores, features = random_inputs(9, 14)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = propagate(scores, features)
    torch.set_num_threads(2)
    assert torch.equal(propagate(scores, features), expected)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_walk_on_a_gpu_equals_the_walk_on_the_cpu():
    scores, features = random_inputs(15, 20)
    for border in ("published", "padded"):
        walked = propagate(scores.cuda(), features.cuda(), border=border)
        assert walked.is_cuda
        torch.testing.assert_close(walked.cpu(), propagate(scores, features, border=border), atol=1e-5, rtol=0)
