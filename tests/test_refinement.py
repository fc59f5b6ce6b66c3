"""Affinity networks, their labels and the walks that follow them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from workflow_scripts import networks
from workflow_scripts.data.checkpoints.weights import load_weights, save_weights
from workflow_scripts.data.maps import block_mean
from workflow_scripts.data.samples import affinity_net_samples
from workflow_scripts.data.transforms import normalise
from workflow_scripts.refine import affinity_net_label, affinity_networks, edge_walk_mask, irn_label, random_walk_mask
from workflow_scripts.refine.background import Maps
from workflow_scripts.refine.irn import edge_map

CRF = SimpleNamespace(bilateral=(80, 13, 10), gaussian=(3, 3), iterations=5)
BACKBONE = SimpleNamespace(name="tiny", stride=8, batch_norm="trained", frozen_stages=0)


def affinity(network: str, **changes) -> SimpleNamespace:
    options = {
        "network": network,
        "backbone": BACKBONE,
        "head": 448,
        "group_norm": False,
        "distance": "mean",
        "radius": 5,
        "border": "padded",
        "precision": "float32",
    }
    return SimpleNamespace(**options | changes)


def square_scene() -> tuple[np.ndarray, np.ndarray]:
    """A bright square on a dark ground, and a map that is high inside, low far away."""
    image = np.full((48, 64, 3), 30, np.uint8)
    image[16:40, 16:40] = 220
    scores = np.full((1, 48, 64), 0.02, np.float32)
    scores[0, 16:40, 16:40] = 0.6
    scores[0, 20:36, 20:36] = 1.0
    return image, scores


def maps_of(image: np.ndarray, scores: np.ndarray) -> Maps:
    return Maps(np.arange(len(scores)), scores, None, lambda: image, "x")


def test_block_mean_counts_what_is_outside_as_zero():
    maps = np.ones((2, 5, 8), np.float32)
    pooled = block_mean(maps, 4)
    assert pooled.shape == (2, 2, 2)
    np.testing.assert_allclose(pooled[:, 0], 1)
    np.testing.assert_allclose(pooled[:, 1], 0.25)


def test_affinity_net_labels_are_sure_inside_and_far_away():
    image, scores = square_scene()
    options = SimpleNamespace(low=4, high=24, cell=8, crf=CRF)
    label = affinity_net_label.training_label(image, scores, np.array([3]), options)
    assert label.shape == (6, 8) and label.dtype == np.uint8
    assert (label[2:5, 2:5] == 4).all()
    assert (label[:, 6:] == 0).all()
    assert set(np.unique(label)) <= {0, 4, 255}


def test_between_sure_object_and_sure_background_labels_are_unknown(monkeypatch):
    """Without a CRF: 0.7 > 0.3^1 is an object, 0.9^8 > 0.1 is background, 0.3 lies below 0.7^1 and above 0.7^8."""
    monkeypatch.setattr(affinity_net_label, "dense_crf", lambda image, stack, *options: stack)
    options = SimpleNamespace(low=1, high=8, cell=1, crf=CRF)
    scores, image = np.array([[[0.1, 0.3, 0.7]]], np.float32), np.zeros((1, 3, 3), np.uint8)
    assert affinity_net_label.training_label(image, scores, np.array([3]), options).tolist() == [[0, 255, 4]]


def test_higher_alpha_leaves_less_sure_background():
    rng = np.random.default_rng(0)
    image, scores = rng.integers(0, 255, (32, 32, 3), np.uint8), rng.random((2, 32, 32), np.float32)
    classes = np.array([0, 5])
    few = affinity_net_label.training_label(image, scores, classes, SimpleNamespace(low=1, high=64, cell=8, crf=CRF))
    many = affinity_net_label.training_label(image, scores, classes, SimpleNamespace(low=1, high=2, cell=8, crf=CRF))
    assert (few == 0).sum() <= (many == 0).sum()


def test_irn_labels_are_unknown_between_the_two_thresholds():
    image, scores = square_scene()
    scores[0, :, 48:] = 0.15  # above the low threshold, below the high one
    weak = SimpleNamespace(bilateral=(1, 1, 0.01), gaussian=(1, 0.01), iterations=1)
    options = SimpleNamespace(foreground=0.3, background=0.05, belief=0.7, crf=weak)
    label = irn_label.training_label(image, scores, np.array([0]), options)
    assert label.shape == (48, 64)
    assert (label[20:36, 20:36] == 1).all() and (label[:12, :44] == 0).all() and (label[:, 50:] == 255).all()


@pytest.mark.parametrize(("head", "widths"), [(448, (64, 128, 256)), (896, (128, 256, 512))])
def test_affinity_net_heads(head, widths):
    network = affinity_networks.build(affinity("affinity_net", head=head))
    assert tuple(layer.out_channels for layer in network.reduce) == widths
    assert network(torch.zeros(1, 3, 40, 48)).shape == (1, head, 5, 6)


@pytest.mark.parametrize(("distance", "rate"), [("mean", 1e-3), ("sum", 1e-5)])
def test_affinity_net_learns_a_label_map(distance, rate):
    torch.manual_seed(0)
    network = affinity_networks.build(affinity("affinity_net", distance=distance)).train()
    image, _ = square_scene()
    batch = {
        "image": torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255,
        "label": torch.zeros(1, 6, 8).byte(),
    }
    batch["label"][0, 2:5, 2:5] = 1
    optimiser = torch.optim.Adam(network.parameters(), rate)
    losses = []
    for _ in range(8):
        loss = network.losses(batch)["affinity"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_irn_trains_its_edges_and_never_its_backbone():
    torch.manual_seed(0)
    network = affinity_networks.build(affinity("irn", radius=10)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batch = {"image": torch.rand(2, 3, 61, 67), "label": torch.randint(0, 2, (2, 61, 67))}
    optimiser = torch.optim.SGD(network.new_parameters(), 0.1)
    network.losses(batch)["affinity"].backward()
    optimiser.step()
    after = network.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed and not any(name.startswith("backbone.") for name in changed)
    assert network(batch["image"]).shape == (2, 1, 16, 17)


def test_walk_starts():
    scores = np.array([[[0.0, 1.0, 2.0]], [[0.0, 0.5, 0.0]]], np.float32)
    soft = random_walk_mask.start_scores(scores, SimpleNamespace(alpha=2.0, hard=False))
    np.testing.assert_allclose(soft[:, 0], [[1, 0, 0], [0, 0.5, 1], [0, 1, 0]], atol=1e-4)
    hard = random_walk_mask.start_scores(scores, SimpleNamespace(threshold=0.2, hard=True))
    np.testing.assert_array_equal(hard[:, 0], [[1, 0, 0], [0, 0, 1], [0, 1, 0]])


def test_a_walk_keeps_the_image_size_and_probabilities(tmp_path):
    settings = affinity("affinity_net")
    save_weights(affinity_networks.build(settings), tmp_path / "net.safetensors")
    block = SimpleNamespace(alpha=16.0, hard=False, beta=8, log_steps=4, border="published")
    walk = random_walk_mask.load(block, settings, tmp_path / "net.safetensors").probabilities
    image, scores = square_scene()
    walked = walk(maps_of(image[:45, :59], scores[:, :45, :59]))
    assert walked.shape == (2, 45, 59) and walked.min() >= 0 and walked.max() <= 1 + 1e-5
    assert walk(maps_of(image, np.zeros((0, 48, 64), np.float32))).argmax(0).max() == 0


def test_an_edge_walk_has_a_constant_background(tmp_path):
    settings = affinity("irn", radius=10)
    save_weights(affinity_networks.build(settings), tmp_path / "net.safetensors")
    block = SimpleNamespace(threshold=0.25, frame=64, radius=5, beta=10, log_steps=4)
    walk = edge_walk_mask.load(block, settings, tmp_path / "net.safetensors").probabilities
    image, scores = square_scene()
    walked = walk(maps_of(image, scores))
    assert walked.shape == (2, 48, 64)
    assert (walked[0] == 0.25).all() and 0.99 < walked[1].max() <= 1


def test_an_edge_walk_finds_edges_on_its_frame(tmp_path, monkeypatch):
    settings = affinity("irn", radius=10)
    save_weights(affinity_networks.build(settings), tmp_path / "net.safetensors")
    block = SimpleNamespace(threshold=0.25, frame=80, radius=5, beta=10, log_steps=4)
    image, scores = square_scene()
    seen = []
    monkeypatch.setattr(
        edge_walk_mask, "propagate_along_edges", lambda scores, edge, *rest: seen.append(edge) or scores
    )
    walk = edge_walk_mask.load(block, settings, tmp_path / "net.safetensors").probabilities
    walk(maps_of(image, scores))
    network = affinity_networks.build(settings).eval()
    load_weights(network, tmp_path / "net.safetensors")
    expected, unframed = (edge_map(network, normalise(image), frame) for frame in (80, 1))
    torch.testing.assert_close(seen[0], expected, atol=1e-5, rtol=0)
    assert (expected - unframed).abs().max() > 1e-3


def test_an_edge_walk_leaves_maps_where_they_are(tmp_path, monkeypatch):
    """A walk that goes nowhere gives the map back, moved by 3 pixels at most where sides are no multiples of the cell (IRN code)."""
    settings = affinity("irn", radius=10)
    save_weights(affinity_networks.build(settings), tmp_path / "net.safetensors")
    monkeypatch.setattr(edge_walk_mask, "propagate_along_edges", lambda scores, *rest: scores)
    block = SimpleNamespace(threshold=0.25, frame=64, radius=5, beta=10, log_steps=4)
    rows = np.linspace(0, 1, 373, dtype=np.float32)
    scores = np.broadcast_to(rows[:, None], (1, 373, 50)).copy()
    walk = edge_walk_mask.load(block, settings, tmp_path / "net.safetensors").probabilities
    walked = walk(maps_of(np.zeros((373, 50, 3), np.uint8), scores))
    assert walked[1].max() == 1
    cells = torch.nn.functional.interpolate(torch.from_numpy(scores)[None], size=(94, 13), mode="bilinear")
    full = torch.nn.functional.interpolate(cells, scale_factor=4, mode="bilinear")[0, 0, :373, :50]
    np.testing.assert_allclose(walked[1], full / full.max(), atol=1e-5)
    assert np.abs(walked[1] - scores[0]).max() < 0.01


def test_an_edge_walk_starts_from_maps_that_have_a_maximum_of_1_in_its_cells(tmp_path, monkeypatch):
    """A map of one pixel is diluted in its cell, and divided by its maximum there (IRN code)."""
    settings, started = affinity("irn", radius=10), []
    save_weights(affinity_networks.build(settings), tmp_path / "net.safetensors")
    monkeypatch.setattr(edge_walk_mask, "propagate_along_edges", lambda scores, *rest: started.append(scores) or scores)
    block = SimpleNamespace(threshold=0.25, radius=5, beta=10, log_steps=4, frame=64)
    scores = np.zeros((2, 48, 64), np.float32)
    scores[0, 8:24, 8:24], scores[1, 33, 33] = 0.5, 3
    walk = edge_walk_mask.load(block, settings, tmp_path / "net.safetensors").probabilities
    walk(maps_of(np.zeros((48, 64, 3), np.uint8), scores))
    np.testing.assert_allclose(started[0].amax(dim=(1, 2)), 1, atol=1e-4)


def test_affinity_samples_keep_cells_and_pixels_together(tmp_path):
    """The label tells the brightness of its cell, wherever the crop is taken and however it is mirrored."""
    from workflow_scripts.store.artifacts import create

    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, (9, 7)).astype(np.uint8)
    image = np.repeat(np.repeat(label * 200 + 20, 8, 0), 8, 1)[:70, :50, None].repeat(3, 2).astype(np.uint8)
    with create(tmp_path / "labels.h5", "affinity_labels", dataset="d", split="s", classes=["a"]) as artifact:
        artifact.put("x", label=label)
    index = SimpleNamespace(dataset="d", split=lambda name: ["x"])
    still = SimpleNamespace(brightness=0, contrast=0, saturation=0, hue=0)
    recipe = SimpleNamespace(crop=64, jitter=still, augment="worker")
    images = SimpleNamespace(read=lambda identifier: image)
    samples = affinity_net_samples.Samples(index, images, "s", recipe, 0, str(tmp_path / "labels.h5"), 8)
    for epoch in range(6):
        sample = samples[epoch, 0]
        assert sample["image"].shape == (3, 64, 64) and sample["label"].shape == (8, 8)
        centre = sample["image"][0, 2::8, 2::8]
        known = sample["label"] != 255
        # The outer cells of the image are cut by its border: their centre may be black.
        bright = centre[known] > 0.5
        inside = centre[known] > -2.1
        assert (bright[inside] == (sample["label"][known][inside] == 1)).all()


def test_taps_and_pyramids_of_the_backbones():
    for name in ("tiny", "mobilenet_v2"):
        backbone = networks.build(name, stride=8, batch_norm="frozen", frozen_stages=0).eval()
        image = torch.rand(1, 3, 64, 80)
        taps, pyramid = backbone.taps(image), backbone.pyramid(image)
        assert [tap.shape[1] for tap in taps] == list(backbone.tap_channels)
        assert all(tap.shape[-2:] == (8, 10) for tap in taps)
        assert [features.shape[1] for features in pyramid] == list(backbone.pyramid_channels)
        assert pyramid[0].shape[-2:] == (32, 40)
        torch.testing.assert_close(taps[-1], backbone(image))
