"""The poly schedule against the rates that published optimisers apply."""

from itertools import pairwise

import pytest
import torch

from workflow_scripts.training.schedules import cosine, drops, poly


def rates_of_updates(base: float, total: int, updates: int, every: int = 1) -> list[float]:
    """The rates at which plain SGD makes its updates when LambdaLR follows `poly`."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=base, momentum=5e-4, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: poly(step, total, every=every))
    rates = []
    for _ in range(updates):
        parameter.grad = torch.ones(1)
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    return rates


def test_published_rates_of_affinitynet_and_eps():
    rates = rates_of_updates(0.01, 20_000, 3)
    assert rates[0] == 0.01
    assert rates[1] == pytest.approx(0.00999955, abs=1e-10)
    assert rates[1] == pytest.approx(0.01 * (1 - 1 / 20_000) ** 0.9, rel=1e-12)


def test_published_momentum_is_the_weight_decay():
    # Their optimiser has momentum 5e-4 in effect: two equal gradients move by 1 and 1.0005 rates.
    parameter = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimiser = torch.optim.SGD([parameter], lr=0.01, momentum=5e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: poly(step, 20_000))
    for _ in range(2):
        parameter.grad = torch.ones_like(parameter)
        optimiser.step()
        schedule.step()
    group = optimiser.param_groups[0]
    assert (group["momentum"], group["dampening"], group["nesterov"]) == (5e-4, 0, False)
    assert parameter.item() == pytest.approx(-0.01 - 1.0005 * 0.01 * (1 - 1 / 20_000) ** 0.9, rel=1e-12)


def test_published_rates_of_deeplab_change_every_ten_iterations():
    rates = rates_of_updates(2.5e-4, 20_000, 21, every=10)
    assert rates[:10] == [2.5e-4] * 10
    assert rates[10:20] == pytest.approx([2.49887e-4] * 10, abs=5e-10)
    assert len(set(rates[10:20])) == 1
    assert rates[20] == pytest.approx(2.49775e-4, abs=5e-10)


def test_the_last_value_is_kept():
    assert poly(99, 100) == pytest.approx(0.01**0.9)
    assert poly(100, 100) == poly(99, 100) == poly(10_000, 100) > 0
    assert poly(1000, 100, every=10) == poly(90, 100, every=10)


def test_it_decays_at_every_step_with_the_given_power():
    factors = [poly(step, 50, power=2) for step in range(50)]
    assert factors == pytest.approx([(1 - step / 50) ** 2 for step in range(50)])
    assert all(later < earlier for earlier, later in pairwise(factors))
    assert poly(0, 1) == 1


@pytest.mark.parametrize("arguments", [(-1, 10), (0, 0), (0, 10, 0.9, 0)])
def test_impossible_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="poly needs"):
        poly(*arguments)


def test_drops_begin_at_their_iteration():
    assert [drops(step, (2, 4), 0.1) for step in range(6)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert drops(100, (), 0.1) == 1


def test_half_a_cosine_after_the_rise():
    """By hand: a rise from 0.2 over 4 of 16 iterations; the cosine is at its middle after 8 and at its end after 16."""
    assert [cosine(step, 16, 4, 0.2, 0.1) for step in (0, 2)] == pytest.approx([0.2, 0.6])
    assert cosine(8, 16, 4, 0.2, 0.1) == pytest.approx((1 + 0.1) / 2)
    assert cosine(4, 16, 4, 0.2, 0.1) == pytest.approx(0.1 + 0.9 * (1 + 0.5**0.5) / 2)
    assert cosine(16, 16, 4, 0.2, 0.1) == cosine(99, 16, 4, 0.2, 0.1) == pytest.approx(0.1)
    assert [cosine(step, 16, 0, 0, 0, every=4) for step in (5, 7)] == [cosine(4, 16, 0, 0, 0)] * 2
    assert cosine(8, 16, 0, 0, 0, lag=4) == cosine(4, 16, 0, 0, 0)
