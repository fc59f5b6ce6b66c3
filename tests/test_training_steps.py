"""The optimiser's groups and rates, and what one step of a classifier changes and what stays frozen."""

import copy

import pytest
import torch
from torch import nn
from training_set import batch_of, classifier, classifier_block, namespace, recipe, samples_of

from workflow_scripts import segmentation
from workflow_scripts.training.optimiser import build, parameter_groups
from workflow_scripts.training.step import Step

# --- optimiser --------------------------------------------------------------------------------------------------------


def rates(groups: list[dict]) -> list[tuple[float, float]]:
    return [(round(group["lr"], 10), group["weight_decay"]) for group in groups]


def test_parameter_groups_have_the_published_rates():
    """PSA and EPS code: 1x with decay, 2x without, 10x with decay, 20x without."""
    block = {"network": "large_fov", "backbone": classifier_block()["backbone"], "hidden": 8, "dilation": 2}
    network = segmentation.build(
        namespace(block | {"dropout": 0.1, "align_corners": False, "score_kernel": 1, "loss_at": "labels"}), 7
    )
    groups = parameter_groups(network, recipe())
    assert rates(groups) == [(0.01, 5e-4), (0.02, 0.0), (0.1, 5e-4), (0.2, 0.0)]
    assert [parameter.ndim for parameter in groups[2]["params"]] == [4, 4]  # context and head
    assert [parameter.ndim for parameter in groups[3]["params"]] == [1, 1]
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())


def test_frozen_parameters_are_in_no_group_and_empty_groups_are_left_out():
    network = classifier("cam", name="mobilenet_v2", stride=16, batch_norm="frozen", frozen_stages=3)
    groups = parameter_groups(network, recipe())
    assert rates(groups) == [(0.01, 5e-4), (0.1, 5e-4)]  # without batch normalisation there are no biases
    assert groups[1]["params"] == [network.head.weight]
    frozen = {id(parameter) for parameter in network.backbone.features[:3].parameters()}
    assert frozen.isdisjoint(id(parameter) for group in groups for parameter in group["params"])


@pytest.mark.parametrize("momentum", [0.9, 5e-4])
def test_sgd_has_the_momentum_of_the_recipe(momentum):
    optimiser, _ = build(classifier(), recipe(momentum=momentum))
    assert isinstance(optimiser, torch.optim.SGD)
    assert {group["momentum"] for group in optimiser.param_groups} == {momentum}
    adam, _ = build(classifier(), recipe(momentum=momentum, optimiser="adamw"))
    assert isinstance(adam, torch.optim.AdamW)
    assert {group["betas"] for group in adam.param_groups} == {(momentum, 0.999)}


def test_every_group_follows_the_polynomial():
    optimiser, schedule = build(classifier(), recipe(iterations=5))
    start = [group["lr"] for group in optimiser.param_groups]
    for step in range(5):
        factor = (1 - step / 5) ** 0.9
        assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([rate * factor for rate in start])
        optimiser.step()
        schedule.step()


def test_warm_up_rises_to_the_polynomial_in_equal_steps():
    optimiser, schedule = build(classifier(), recipe(iterations=8, warm_up=3, poly_power=0))
    rates = []
    for _ in range(6):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])


def test_a_step_moves_the_schedule(rendered):
    step = Step(classifier(), recipe(iterations=5), torch.device("cpu"))
    first = step.rate
    step(batch_of(samples_of(rendered), 0, 1))
    assert step.rate == pytest.approx(first * (1 - 1 / 5) ** 0.9)


# --- one step ---------------------------------------------------------------------------------------------------------


def step(network: nn.Module, batch: dict[str, torch.Tensor], **changes) -> dict[str, torch.Tensor]:
    """One optimiser step; returns the state before."""
    before = copy.deepcopy(network.state_dict())
    optimiser, _ = build(network.train(), recipe(**changes))
    sum(network.losses(batch).values()).backward()
    optimiser.step()
    return before


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_frozen_parts_do_not_change(rendered, optimiser):
    network = classifier("cam", batch_norm="frozen", frozen_stages=1)
    before = step(network, batch_of(samples_of(rendered), 0, 1, 2, 3), optimiser=optimiser)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    frozen = {name for name in before if "norm" in name or "stem." in name}
    assert frozen and changed == set(before) - frozen
    trained = classifier("cam", batch_norm="trained", frozen_stages=0)
    before = step(trained, batch_of(samples_of(rendered), 0, 1, 2, 3), optimiser=optimiser)
    assert all(not torch.equal(value, before[name]) for name, value in trained.state_dict().items())


@pytest.mark.parametrize("weight, untouched", [(0.0, True), (1.0, False)])
def test_background_of_eps_learns_from_saliency_alone(rendered, weight, untouched):
    network = classifier("eps").train()
    network.options.saliency_weight = weight
    losses = network.losses(batch_of(samples_of(rendered, saliency=True), 0, 1, 2, 3))
    assert losses.keys() == {"classification", "saliency"} and (losses["saliency"] == 0) == untouched
    losses["classification"].backward(retain_graph=True)
    assert torch.count_nonzero(network.head.weight.grad[-1]) == 0
    assert all(torch.count_nonzero(row) for row in network.head.weight.grad[:-1])
    network.zero_grad()
    losses["saliency"].backward()
    assert (torch.count_nonzero(network.head.weight.grad[-1]) == 0) == untouched


@pytest.mark.parametrize("method, channels", [("cam", 6), ("eps", 7)])
def test_heads_have_no_bias_and_eps_one_channel_more(method, channels):
    network = classifier(method)
    assert network.head.weight.shape == (channels, 96, 1, 1) and network.head.bias is None
    images = torch.randn(2, 3, 32, 40)
    with torch.inference_mode():
        maps, background = network.eval().maps(images, torch.ones(2, 6))
        assert network.class_logits(images).shape == (2, 6)
    assert maps.shape == (2, 6, 4, 5) and (maps >= 0).all()
    if method == "cam":
        assert background is None and not network.learns_background
    else:
        torch.testing.assert_close(maps.sum(dim=1) + background, torch.ones(2, 4, 5))


def test_pooled_maps_are_the_logits():
    """Pooling and the linear layer commute: a map before clipping has the class's logit as its mean."""
    network = classifier("cam").eval()
    images = torch.randn(2, 3, 32, 40)
    with torch.inference_mode():
        logits = network.head(network.backbone(images))
        torch.testing.assert_close(logits.mean(dim=(2, 3)), network.class_logits(images))
        torch.testing.assert_close(logits.relu(), network.maps(images, torch.ones(2, 6))[0])
