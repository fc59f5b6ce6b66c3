"""Mask rule `random_walk`: soft maps, or their arg-max, walk along the affinities that AffinityNet has learnt."""

from types import SimpleNamespace
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from workflow_scripts.config.types.mask_blocks import MaskRule, Threshold
from workflow_scripts.config.types.parts import DenseCrf, Name, Of
from workflow_scripts.data.checkpoints.weights import load_weights
from workflow_scripts.data.maps import block_mean, constant_background
from workflow_scripts.data.transforms import normalise
from workflow_scripts.refine import affinity_networks
from workflow_scripts.refine.background import Maps, Rule
from workflow_scripts.refine.random_walk import at_image_size, propagate
from workflow_scripts.training.device import autocast, device


class RandomWalkMask(MaskRule):
    rule: Literal["random_walk"]
    walks_along: ClassVar = "affinity_net"
    cam: Annotated[Name, Of("cams")]
    affinity: Annotated[Name, Of("affinities")]
    alpha: PositiveFloat | None = Field(None, description="background (1 - max score)^alpha; or, instead,")
    threshold: Threshold | None = Field(None, description="constant background score")
    hard: bool = Field(description="the arg-max walks, not the soft maps")
    beta: PositiveFloat = Field(description="power of the affinities")
    log_steps: PositiveInt = Field(description="the walk has 2^log_steps steps")
    border: Literal["published", "padded"] = Field(
        description="cells near the border lose neighbours, or keep those that exist"
    )
    crf: DenseCrf | None = None

    @model_validator(mode="after")
    def _one_background(self) -> "RandomWalkMask":
        if (self.alpha is None) == (self.threshold is None):
            raise ValueError("a random walk has a background by alpha or by threshold, one of them")
        return self


def load(block: SimpleNamespace, affinity: SimpleNamespace, weights: str) -> Rule:
    """The walk of a mask block.

    Args:
        block: `alpha` or `threshold` of the background, `hard`, `beta`, `log_steps`, `border`.
        affinity: settings of the affinity network.
        weights: its trained weights.
    """
    network = affinity_networks.build(affinity)
    load_weights(network, weights)
    network.to(device(), memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def walk(maps: Maps) -> np.ndarray:
        image, start = maps.image(), start_scores(maps.scores, block)
        cell = network.backbone.stride
        pooled = torch.from_numpy(block_mean(start, cell)).to(device())
        height, width = pooled.shape[1] * cell, pooled.shape[2] * cell
        inputs = torch.zeros(1, 3, height, width)
        inputs[0, :, : image.shape[0], : image.shape[1]] = normalise(image)
        with autocast(device(), affinity.precision):
            features = network(inputs.to(device()).contiguous(memory_format=torch.channels_last))
        walked = propagate(
            pooled, features[0].float(), affinity.radius, block.beta, block.log_steps, affinity.distance, block.border
        )
        return at_image_size(walked, cell, *image.shape[:2]).cpu().numpy()

    return Rule(walk)


def start_scores(scores: np.ndarray, block: SimpleNamespace) -> np.ndarray:
    """What walks: maps divided by their maxima below their background, or, where `hard`, the arg-max of these.

    Args:
        scores: (K, H, W), >= 0.
        block: the background is (1 - max score)^`alpha`, or the constant `threshold`.

    Returns:
        float32 (K + 1, H, W), background first.
    """
    stack = constant_background(scores, getattr(block, "threshold", 0.0))
    if hasattr(block, "alpha"):
        stack[0] = (1 - stack[1:].max(axis=0, initial=0)) ** block.alpha
    if block.hard:
        hard = np.zeros_like(stack)
        np.put_along_axis(hard, stack.argmax(axis=0)[None], 1, axis=0)
        return hard
    return stack
