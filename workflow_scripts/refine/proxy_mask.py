"""Mask rule `proxy`: attention and saliency joined by their harmonic mean (SeeNet, Algorithm 1)."""

import numpy as np

from workflow_scripts.refine import proxy
from workflow_scripts.refine.background import Maps, Rule, normalised, plain_labels


def load(block, affinity, weights: str | None) -> Rule:
    """The rule of a mask block with `weight`, and `conflict` and `unsalient` where pixels are to be ignored."""
    conflict, unsalient = getattr(block, "conflict", None), getattr(block, "unsalient", None)

    def probabilities(maps: Maps) -> np.ndarray:
        return proxy.proxy_scores(normalised(maps.scores), maps.saliency(), block.weight)

    def labels(maps: Maps, scores: np.ndarray) -> dict[str, np.ndarray]:
        label = plain_labels(maps, scores)["label"]
        label[proxy.ignored(normalised(maps.scores), maps.saliency(), conflict, unsalient)] = proxy.IGNORE
        return {"label": label}

    return Rule(probabilities, labels)
