"""Mask rule `learnt`: the background that EPS learns, which its published code discards."""

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.refine.background import Maps, Rule, learnt_background


def load(block, affinity, weights: str | None) -> Rule:
    """The rule of a mask block; no network, no weights. Maps without a learnt background are an error."""
    return Rule(_probabilities)


def _probabilities(maps: Maps) -> np.ndarray:
    if maps.background is None:
        raise UserError(f"{maps.source}: no learnt background; use rule 'constant' for this method")
    return learnt_background(maps.scores, maps.background)
