"""EPS saliency loss and class activation maps: golden values of the published code, an oracle, closed forms."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from workflow_scripts.data.transforms import normalise_maps
from workflow_scripts.methods.cam import class_activation_maps
from workflow_scripts.methods.eps import (
    SELECTIONS,
    estimated_saliency,
    join_maps,
    saliency_loss,
    saliency_overlap,
    select_maps,
)
from workflow_scripts.stages.estimated_saliency import estimate


@pytest.fixture
def golden() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = np.random.RandomState(0)
    logits = torch.from_numpy((4 * random.randn(2, 21, 56, 56)).astype(np.float32))
    saliency = torch.from_numpy(random.rand(2, 1, 448, 448).astype(np.float32))
    labels = torch.zeros(2, 20)
    labels[0, 3] = labels[0, 14] = labels[1, 7] = 1
    return logits, saliency, labels


def random_case(seed: int, classes: int = 5, size: tuple[int, int] = (7, 9), dtype: torch.dtype = torch.float64):
    """Two images with sharp maps; class 0 always present, the last never."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes + 1, *size, generator=generator, dtype=dtype)
    saliency = torch.rand(2, 1, 5 * size[0] + 3, 4 * size[1] + 1, generator=generator, dtype=dtype)
    labels = (torch.rand(2, classes, generator=generator) < 0.6).to(dtype)
    labels[:, 0], labels[:, -1] = 1, 0
    return logits, saliency, labels


def loss_by_loops(logits, saliency, labels, threshold, weight, selection, predefined) -> float:
    """The definition, one pixel at a time, in plain Python."""
    batch, channels, height, width = logits.shape
    rows = [i * saliency.shape[2] // height for i in range(height)]
    columns = [j * saliency.shape[3] // width for j in range(width)]
    total = 0.0
    for b in range(batch):
        z = logits[b].numpy()
        p = np.exp(z) / np.exp(z).sum(axis=0)
        s = saliency[b, 0].numpy()[np.ix_(rows, columns)]
        estimate_fg, estimate_bg = np.zeros((height, width)), p[-1].copy()
        for k in range(channels - 1):
            if selection == "none":
                estimate_fg += p[k]
                continue
            if not labels[b, k]:
                continue
            both = sum(p[k, i, j] > 0.5 and s[i, j] > 0.5 for i in range(height) for j in range(width))
            region = sum(float(p[k, i, j] > 0.5) + 1e-4 for i in range(height) for j in range(width))
            is_foreground = {
                "adaptive": both / region > threshold,
                "naive": True,
                "predefined": k not in predefined,
            }[selection]
            if is_foreground:
                estimate_fg += p[k]
            else:
                estimate_bg += p[k]
        total += ((weight * estimate_fg + (1 - weight) * (1 - estimate_bg) - s) ** 2).mean()
    return total / batch


@pytest.mark.parametrize(
    ("threshold", "weight", "loss", "gradient", "foreground", "background"),
    [
        (0.4, 0.5, 0.09999052, 0.028741, 0.075218, 0.953054),
        (0.4, 0.9, 0.22740121, 0.037222, 0.075218, 0.953054),
        (0.55, 0.5, 0.09902462, 0.028924, 0.049225, 0.927060),
        (0.55, 0.9, 0.23391195, 0.028508, 0.049225, 0.927060),
        (1.1, 0.5, 0.10194311, 0.029328, 0.0, 0.877835),
    ],
)
def test_published_values(golden, threshold, weight, loss, gradient, foreground, background):
    logits, saliency, labels = golden
    logits.requires_grad_()
    value = saliency_loss(logits, saliency, labels, threshold, weight)
    value.backward()
    assert value.item() == pytest.approx(loss, rel=1e-5)
    assert logits.grad.abs().sum().item() == pytest.approx(gradient, abs=1e-6)
    probabilities = logits.detach().softmax(1)
    overlap = saliency_overlap(probabilities[:, :-1], saliency[:, :, ::8, ::8])
    maps = join_maps(probabilities, *select_maps(overlap, labels, threshold, "adaptive"))
    assert maps[0].mean().item() == pytest.approx(foreground, abs=1e-6)
    assert (1 - maps[1]).mean().item() == pytest.approx(background, abs=1e-6)


def test_published_overlaps_and_gradient_of_single_channels(golden):
    logits, saliency, labels = golden
    probabilities = logits.softmax(1)
    overlap = saliency_overlap(probabilities[:, :-1], saliency[:, :, ::8, ::8])
    chosen = [(0, 3), (0, 14), (1, 7)]
    assert [overlap[i].item() for i in chosen] == pytest.approx([0.5105503, 0.5662916, 0.5684275], rel=1e-5)
    assert [int((probabilities[i] > 0.5).sum()) for i in chosen] == [127, 118, 107]
    logits.requires_grad_()
    saliency_loss(logits, saliency, labels, 0.4, 0.5).backward()
    # Class 5 is absent from both images and is pushed down all the same.
    assert logits.grad[:, 5].abs().sum().item() == pytest.approx(7.52e-4, rel=1e-3)
    assert logits.grad[:, 20].abs().sum().item() == pytest.approx(6.53e-3, rel=1e-3)


def test_published_value_of_a_class_without_region(golden):
    logits, saliency, labels = golden
    logits[:, 7] -= 30
    assert saliency_loss(logits, saliency, labels, 0.0, 0.5).item() == pytest.approx(0.0981041, rel=1e-5)
    overlap = saliency_overlap(logits.softmax(1)[:, :-1], saliency[:, :, ::8, ::8])
    assert overlap[1, 7] == 0


@pytest.mark.parametrize("selection", SELECTIONS)
@pytest.mark.parametrize(("threshold", "weight"), [(0.4, 0.5), (0.55, 0.9), (0.0, 0.1)])
@pytest.mark.parametrize("seed", [1, 2])
def test_equals_the_definition_by_loops(selection, threshold, weight, seed):
    logits, saliency, labels = random_case(seed)
    value = saliency_loss(logits, saliency, labels, threshold, weight, selection, predefined_background=(0, 2))
    expected = loss_by_loops(logits, saliency, labels, threshold, weight, selection, (0, 2))
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_the_selection_is_per_image():
    logits, saliency, labels = random_case(3)
    each = [saliency_loss(logits[i : i + 1], saliency[i : i + 1], labels[i : i + 1]) for i in range(2)]
    assert saliency_loss(logits, saliency, labels).item() == pytest.approx(sum(each).item() / 2, rel=1e-12)


def test_closed_forms_of_the_estimate():
    logits, saliency, labels = random_case(4)
    target = torch.nn.functional.interpolate(saliency, size=logits.shape[-2:], mode="nearest")
    probabilities = logits.softmax(1)
    present = (probabilities[:, :-1] * labels[:, :, None, None]).sum(1, keepdim=True)
    object_side = 1 - probabilities[:, -1:]
    others = 1 - present - probabilities[:, -1:]

    def error(estimate):
        return ((estimate - target) ** 2).mean().item()

    assert saliency_loss(logits, saliency, labels, -1, 1.0).item() == pytest.approx(error(present), rel=1e-12)
    assert saliency_loss(logits, saliency, labels, -1, 0.0).item() == pytest.approx(error(object_side), rel=1e-12)
    # No map is foreground above an overlap of 1: only absent classes are left on the object side.
    assert saliency_loss(logits, saliency, labels, 1.1, 0.3).item() == pytest.approx(error(0.7 * others), rel=1e-12)
    for weight in (0.0, 0.3, 1.0):
        value = saliency_loss(logits, saliency, labels, 0.4, weight, "none")
        assert value.item() == pytest.approx(error(object_side), rel=1e-12)
    naive = saliency_loss(logits, saliency, labels, 0.9, 0.3, "naive")
    assert naive.item() == saliency_loss(logits, saliency, labels, -1, 0.3).item()
    assert naive.item() == saliency_loss(logits, saliency, labels, 0.9, 0.3, "predefined").item()


def test_zero_exactly_where_the_estimate_is_the_saliency():
    logits, _, labels = random_case(5)
    estimate = 1 - logits.softmax(1)[:, -1:]
    assert saliency_loss(logits, estimate, labels, selection="none").item() < 1e-30
    estimate[0, 0, 2, 3] = 1 - estimate[0, 0, 2, 3]
    assert saliency_loss(logits, estimate, labels, selection="none").item() > 1e-6


@pytest.mark.parametrize("selection", SELECTIONS)
def test_maps_are_disjoint_and_the_estimate_stays_in_range(selection):
    logits, saliency, labels = random_case(6)
    probabilities = logits.softmax(1)
    target = torch.nn.functional.interpolate(saliency, size=logits.shape[-2:], mode="nearest")
    overlap = saliency_overlap(probabilities[:, :-1], target)
    foreground, background = select_maps(overlap, labels, 0.4, selection, (1,))
    gate = torch.ones_like(labels) if selection == "none" else labels
    assert torch.equal(foreground + background, gate)
    foreground_map, background_map = join_maps(probabilities, foreground, background)
    for weight in (0.0, 0.5, 1.0):
        estimate = weight * foreground_map + (1 - weight) * (1 - background_map)
        assert estimate.min() >= 0 and estimate.max() <= 1 + 1e-12


def test_gradient_is_that_of_the_loss_with_the_selection_held():
    logits, saliency, labels = random_case(7, classes=3, size=(3, 4))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: saliency_loss(z, saliency, labels, 0.4, 0.7), logits)
    saliency_loss(logits, saliency, labels).backward()
    assert logits.grad[:, -2].abs().sum() > 0  # the absent class
    assert logits.grad[:, -1].abs().sum() > 0  # the background
    # The softmax ignores a common shift, so the gradients of a position cancel.
    assert logits.grad.sum(1).abs().max() < 1e-15


def test_overlap_on_paper():
    probabilities = torch.zeros(1, 2, 2, 2)
    probabilities[0, 0] = torch.tensor([[0.9, 0.6], [0.5, 0.1]])  # exactly 0.5 is outside
    saliency = torch.tensor([[[[0.7, 0.5], [1.0, 1.0]]]])
    overlap = saliency_overlap(probabilities, saliency)
    assert overlap[0].tolist() == pytest.approx([1 / (2 + 4e-4), 0])
    # The published comparison is strict: an overlap equal to the threshold is background.
    foreground, background = select_maps(overlap, torch.ones(1, 2), overlap[0, 0].item(), "adaptive")
    assert foreground.tolist() == [[0, 0]] and background.tolist() == [[1, 1]]


def test_saliency_is_sampled_nearest_from_the_corner():
    logits, saliency, labels = random_case(8, size=(41, 41))
    saliency = torch.rand(2, 1, 321, 321, dtype=torch.float64)
    index = torch.arange(41) * 321 // 41
    sampled = saliency[:, :, index][:, :, :, index]
    assert saliency_loss(logits, saliency, labels).item() == saliency_loss(logits, sampled, labels).item()


def test_unknown_selection_is_refused():
    logits, saliency, labels = random_case(9)
    with pytest.raises(ValueError, match="adaptive, naive, predefined, none"):
        saliency_loss(logits, saliency, labels, selection="adaptve")


def test_integer_labels_serve_as_well():
    logits, saliency, labels = random_case(10)
    assert saliency_loss(logits, saliency, labels.long()).item() == saliency_loss(logits, saliency, labels).item()


def test_class_activation_maps_project_and_clip():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 6, 4, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    maps = class_activation_maps(features, weight)
    expected = np.maximum(np.einsum("cd,bdhw->bchw", weight.numpy(), features.numpy()), 0)
    np.testing.assert_allclose(maps.numpy(), expected, rtol=1e-12, atol=1e-14)
    assert (maps == 0).any() and (maps > 0).any()
    roots = class_activation_maps(features, weight, square_root=True)
    np.testing.assert_allclose(roots.numpy(), np.sqrt(expected), rtol=1e-12, atol=1e-14)


def test_normalised_maps_keep_zero_and_scale_each_class_alone():
    maps = torch.tensor([[[0.0, 2.0], [4.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.5, 0.25], [0.0, 0.0]]])
    normalised = normalise_maps(maps)
    assert normalised[0].flatten().tolist() == pytest.approx([0, 2 / 4.00001, 4 / 4.00001, 1 / 4.00001], rel=1e-6)
    assert torch.equal(normalised[1], maps[1])
    assert normalised[2, 0, 0].item() == pytest.approx(0.5 / 0.50001, rel=1e-6)
    assert normalise_maps(maps, eps=1.0)[0, 1, 0].item() == pytest.approx(0.8)


# The estimate of the saliency


def test_the_estimate_of_the_golden_maps_is_the_weighted_sum(golden):
    """M_fg and M_bg by hand: at tau 0.55 classes 14 and 7 are foreground, class 3 joins the background."""
    logits, saliency, labels = golden
    probabilities = logits.softmax(1)
    given = saliency[:, :, ::8, ::8]
    found = estimated_saliency(probabilities, given, labels, 0.55, 0.9)
    foreground = torch.stack([probabilities[0, 14], probabilities[1, 7]])
    background = torch.stack([probabilities[0, 3] + probabilities[0, 20], probabilities[1, 20]])
    assert torch.allclose(found[:, 0], 0.9 * foreground + 0.1 * (1 - background), atol=1e-6)
    assert foreground.mean().item() == pytest.approx(0.049225, abs=1e-6)  # published code
    assert ((found - given) ** 2).mean().item() == pytest.approx(0.23391195, rel=1e-5)
    assert saliency_loss(logits, saliency, labels, 0.55, 0.9).item() == pytest.approx(0.23391195, rel=1e-5)


@pytest.mark.parametrize("selection", SELECTIONS)
def test_the_estimate_from_stored_maps_is_that_of_all_channels(selection):
    """A cam artifact holds the labelled classes and the background alone."""
    generator = torch.Generator().manual_seed(1)
    probabilities = (3 * torch.randn(1, 6, 9, 11, generator=generator)).softmax(dim=1)
    saliency = torch.randint(0, 256, (9, 11), generator=generator).to(torch.uint8)
    classes, present = ("a", "b", "c", "d", "e"), [1, 3, 4]
    labels = torch.zeros(1, 5)
    labels[0, present] = 1
    options = SimpleNamespace(
        selection=selection, overlap_threshold=0.5, foreground_weight=0.8, predefined_background=["a", "d"]
    )
    stored = {
        "classes": np.array(present),
        "scores": probabilities[0, present].numpy(),
        "background": probabilities[0, 5].numpy(),
    }
    found = estimate(stored, saliency.numpy(), classes, options)
    expected = estimated_saliency(probabilities, saliency[None, None] / 255, labels, 0.5, 0.8, selection, [0, 3])
    assert found.dtype == np.uint8 and found.shape == (9, 11)
    assert np.abs(found - 255 * expected[0, 0].numpy()).max() < 0.51


def test_the_estimate_of_an_image_without_labels_is_background():
    maps = {
        "classes": np.zeros(0, np.int16),
        "scores": np.zeros((0, 2, 2), np.float16),
        "background": np.full((2, 2), 0.75, np.float16),
    }
    options = SimpleNamespace(
        selection="adaptive", overlap_threshold=0.4, foreground_weight=0.5, predefined_background=[]
    )
    assert np.unique(estimate(maps, np.full((4, 6), 255, np.uint8), ("a",), options)).tolist() == [
        32
    ]  # 255 (1 - 0.75) / 2
