"""SeeNet: the ternary mask, conditionally reversed units, the branches and the proxy labels."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import put, refused

from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.methods import seenet
from workflow_scripts.networks import tiny
from workflow_scripts.refine import proxy, proxy_mask
from workflow_scripts.refine.background import Maps

OPTIONS = {
    "hidden": 8,
    "layers": 2,
    "dropout": 0.0,
    "initial_deviation": None,
    "high": 0.7,
    "low": 0.05,
    "background": "reversed",
    "third_below": 0.375,
    "shared": True,
    "reduction": "mean",
}


def network(**options) -> seenet.Classifier:
    torch.manual_seed(0)
    return seenet.Classifier(tiny.Backbone(16), ("a", "b", "c"), SimpleNamespace(**OPTIONS | options))


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    return {"image": torch.randn(2, 3, 64, 64, generator=generator), "labels": labels}


@pytest.mark.parametrize(
    "high, low, erased, reversed_, total", [(0.7, 0.05, 10, 66, 11305.926), (0.8, 0.0, 5, 0, 38940.250)]
)
def test_published_values(high, low, erased, reversed_, total):
    random = np.random.RandomState(0)
    features = np.maximum(random.randn(1, 512, 14, 14), 0)
    scores = torch.from_numpy(random.randn(1, 20, 14, 14))
    labels = torch.zeros(1, 20)
    labels[0, [3, 7]] = 1
    mask = seenet.ternary_mask(scores, labels, high, low)
    assert mask.shape == (1, 1, 14, 14)
    assert (mask == 0).sum() == erased and (mask == -1).sum() == reversed_
    assert (mask == 1).sum() == 14 * 14 - erased - reversed_
    out = seenet.conditional_relu(torch.from_numpy(features), mask)
    assert features.sum() == pytest.approx(39969.243, abs=1e-3)
    assert out.sum().item() == pytest.approx(total, abs=1e-3)


def test_conditional_relu_is_a_relu_under_a_mask_of_ones():
    features = torch.randn(2, 4, 5, 6)
    assert torch.equal(seenet.conditional_relu(features, torch.ones(2, 1, 5, 6)), features.relu())


def test_gradient_is_zero_where_erased_and_reversed_where_flipped():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 3, 4, 5, dtype=torch.float64, generator=generator)
    features[features.abs() < 0.05] = 0.5  # away from the kink
    features.requires_grad_()
    mask = torch.randint(-1, 2, (1, 1, 4, 5), generator=generator).double()
    seenet.conditional_relu(features, mask).sum().backward()
    assert torch.equal(features.grad, (features > 0) * mask)
    assert {-1.0, 0.0, 1.0} <= set(features.grad.unique().tolist())
    assert torch.autograd.gradcheck(lambda values: seenet.conditional_relu(values, mask), features)


def test_attention_counts_the_image_s_own_classes_alone_and_has_no_gradient():
    scores = torch.randn(2, 3, 5, 5, requires_grad=True)
    labels = torch.tensor([[1.0, 0, 0], [0, 0, 0]])
    attention = seenet.object_attention(scores, labels)
    only = seenet.object_attention(scores[:, :1], labels[:, :1])
    assert torch.equal(attention, only) and not attention.requires_grad
    assert attention[0].max() == pytest.approx(1) and attention[1].max() == 0
    assert (seenet.ternary_mask(scores, labels)[1] == -1).all()  # nothing found: all is background


def test_second_branch_sees_what_the_variant_says():
    features, labels = torch.rand(2, 96, 4, 4), batch()["labels"]
    seen = {}
    for name, options in {
        "seenet": {},
        "zeroed": {"background": "zeroed"},
        "acol": {"low": 0.0, "third_below": None},
    }.items():
        model = network(**options).eval()
        model.second.register_forward_pre_hook(lambda _, inputs, name=name: seen.setdefault(name, inputs[0]))
        model._scores(features, labels)
        mask = seenet.ternary_mask(model.first(features), labels, 0.7, model.options.low)
    plain = seenet.ternary_mask(network().eval().first(features), labels)
    torch.testing.assert_close(seen["seenet"], features * plain)
    torch.testing.assert_close(seen["zeroed"], features * (plain == 1))
    torch.testing.assert_close(seen["acol"], features * (mask == 1))
    assert (seen["seenet"] < 0).any() and not (seen["acol"] < 0).any()


def test_losses_are_binary_cross_entropies_and_the_third_wants_nothing():
    model, data = network().eval(), batch()
    losses = model.losses(data)
    assert set(losses) == {"first", "second", "third"}
    features = model.backbone(data["image"])
    first = model.first(features)
    below = (seenet.object_attention(first, data["labels"]) < 0.375).float()
    third = model.second(features * below).mean(dim=(2, 3))
    torch.testing.assert_close(losses["third"], torch.nn.functional.softplus(third).mean())
    logits = model.class_logits(data["image"])
    expected = torch.nn.functional.multilabel_soft_margin_loss(logits, data["labels"])
    torch.testing.assert_close(losses["first"], expected)
    summed = network(reduction="sum").eval().losses(data)
    torch.testing.assert_close(summed["second"], 3 * losses["second"])


def test_branches_share_weights_only_where_they_are_to():
    data = batch()
    assert set(network(third_below=None).losses(data)) == {"first", "second"}
    assert network().third is None and network(third_below=None).third is None
    apart = network(shared=False)
    sum(apart.losses(data).values()).backward()
    assert all(parameter.grad is not None for parameter in apart.new_parameters())
    assert len(list(apart.new_parameters())) == 3 * 6 and len(list(network().new_parameters())) == 2 * 6


def test_maps_are_those_of_two_branches():
    model, data = network().eval(), batch()
    maps, background = model.maps(data["image"][:1], data["labels"][:1])
    assert maps.shape == (2, 3, 4, 4) and background is None and (maps >= 0).all()
    features = model.backbone(data["image"][:1])
    first = model.first(features)
    mask = seenet.ternary_mask(first, data["labels"][:1])
    torch.testing.assert_close(maps, torch.cat([first, model.second(features * mask)]).relu())


# Proxy labels


def plain_algorithm(attention, saliency, labels, weight) -> np.ndarray:
    """Algorithm 1 as it is written, pixel by pixel."""
    height, width = saliency.shape
    out = np.zeros((height, width), np.uint8)
    for row in range(height):
        for column in range(width):
            salient = saliency[row, column]
            best, score = 0, 1 - salient
            for name in np.flatnonzero(labels):
                value = attention[name, row, column]
                mean = (weight + 1) / (weight / value + 1 / salient) if value > 0 and salient > 0 else 0
                if mean > score:
                    best, score = name + 1, mean
            out[row, column] = best
    return out


@pytest.mark.parametrize("weight", [1.0, 0.5, 3.0])
def test_proxy_labels_equal_algorithm_1(weight):
    random = np.random.RandomState(3)
    attention = random.rand(5, 11, 13).astype(np.float32)
    attention[:, :2], saliency = 0, random.rand(11, 13).astype(np.float32)
    saliency[:, :3], saliency[-1] = 0, 1
    labels = np.array([1, 0, 1, 1, 0])
    expected = plain_algorithm(attention, saliency, labels, weight)
    assert (proxy.harmonic_proxy(attention, saliency, labels, weight) == expected).all()
    assert len(np.unique(expected)) == 4


def test_harmonic_mean_is_between_its_arguments_and_zero_with_either():
    attention, saliency = np.random.RandomState(0).rand(2, 6, 7), np.random.RandomState(1).rand(6, 7)
    mean = proxy.harmonic_mean(attention, saliency)
    assert (mean >= np.minimum(attention, saliency) - 1e-6).all() and (
        mean <= np.maximum(attention, saliency) + 1e-6
    ).all()
    assert (proxy.harmonic_mean(attention * 0, saliency) == 0).all()
    assert (proxy.harmonic_mean(attention, saliency * 0) == 0).all()


def test_a_tie_is_background():
    half = np.full((1, 2, 2), 0.5)
    assert (proxy.harmonic_proxy(half, half[0], np.array([1])) == 0).all()


def maps(saliency: np.ndarray, **scores) -> Maps:
    stack = np.stack([*scores.values()]).astype(np.float32)
    return Maps(np.arange(len(stack)), stack, None, lambda: None, "here", lambda: saliency)


def test_mask_rule_ignores_doubtful_pixels_only_when_asked():
    saliency = np.array([[0.0, 0.1, 0.9, 0.9]], np.float32)
    found = maps(saliency, a=[[0, 0.1, 1, 0.8]], b=[[0, 0, 0, 2.0]])
    plain = proxy_mask.load(SimpleNamespace(weight=1), None, None)
    assert plain.labels(found, plain.probabilities(found))["label"].tolist() == [[0, 0, 1, 2]]
    careful = proxy_mask.load(SimpleNamespace(weight=1, conflict=0.7, unsalient=0.05), None, None)
    assert careful.labels(found, careful.probabilities(found))["label"].tolist() == [[255, 0, 1, 255]]


def test_an_image_without_labels_is_background():
    empty = Maps(
        np.zeros(0, np.int16), np.zeros((0, 2, 2), np.float32), None, lambda: None, "", lambda: np.ones((2, 2))
    )
    rule = proxy_mask.load(SimpleNamespace(weight=1, conflict=0.7), None, None)
    assert (rule.labels(empty, rule.probabilities(empty))["label"] == 0).all()


# Start


def test_it_may_start_from_another_classifier_s_backbone_but_never_from_itself(raw):
    job = Plan(Config(raw)).job("train_classifier", {"dataset": "demo", "seed": "0", "classifier": "seenet"})
    assert job.inputs["initial"].endswith("demo/seed-0/classifiers/cam.safetensors")
    put(raw, "datasets.demo.overrides.classifiers.cam.initial", {"classifier": "seenet"})
    refused(lambda: Config(raw), "classifiers.cam.initial", "start from each other", "seenet -> cam -> seenet")
