"""Learning-rate schedules as pure functions of the iteration."""

import math
from collections.abc import Sequence


def poly(step: int, total: int, power: float = 0.9, every: int = 1) -> float:
    """Polynomial decay: the factor on the base learning rate, (1 - step / total) ^ power.

    From `total` on the last value is kept, as in the published AffinityNet and EPS code: the rate never reaches 0.

    Args:
        step: 0-based iteration whose update is about to be made.
        total: iterations over which the rate decays, >= 1.
        power: exponent; 0.9 is DeepLab's (Chen et al., TPAMI 2018).
        every: the rate changes only at multiples of this many iterations (10 in the common DeepLab-V2 code).

    Returns:
        In (0, 1].

    Raises:
        ValueError: step < 0, total < 1 or every < 1.
    """
    if step < 0 or total < 1 or every < 1:
        raise ValueError(f"poly needs step >= 0, total >= 1 and every >= 1, not {step}, {total} and {every}")
    step = min(step, total - 1)
    return (1 - (step - step % every) / total) ** power


def drops(step: int, at: Sequence[int], factor: float) -> float:
    """Factor on the base rate that is multiplied by `factor` from each of the 0-based iterations `at` on."""
    return factor ** sum(step >= start for start in at)


def cosine(step: int, total: int, warm_up: int, first: float, last: float, every: int = 1, lag: int = 0) -> float:
    """Factor on the base rate: a linear rise from `first` over `warm_up` iterations, then half a cosine over `total` to `last`.

    As in timm, which DeiT and MCTformer use: the cosine counts from iteration 0, so that the rise cuts off its begin.

    Args:
        step: 0-based iteration whose update is about to be made.
        first, last: factors, the rate's there over the base rate.
        every: the rate changes only at multiples of this many iterations (there, those of an epoch).
        lag: iterations that it is behind (there, those of an epoch: schedulers are told the epoch that has ended).
    """
    step = max(0, min(step - step % every, total) - lag)
    if step < warm_up:
        return first + (1 - first) * step / warm_up
    return last + (1 - last) * (1 + math.cos(math.pi * step / total)) / 2
