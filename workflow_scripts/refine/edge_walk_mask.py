"""Mask rule `edge_walk`: soft maps walk where no class boundary that IRN has learnt lies in between."""

from types import SimpleNamespace
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import interpolate

from workflow_scripts.config.types.mask_blocks import MaskRule
from workflow_scripts.config.types.parts import DenseCrf, Name, Of, Share
from workflow_scripts.data.checkpoints.weights import load_weights
from workflow_scripts.data.maps import normalised
from workflow_scripts.data.transforms import normalise
from workflow_scripts.refine import affinity_networks
from workflow_scripts.refine.background import Maps, Rule
from workflow_scripts.refine.irn import STRIDE, edge_map
from workflow_scripts.refine.random_walk import at_image_size, propagate_along_edges
from workflow_scripts.training.device import autocast, device


class EdgeWalkMask(MaskRule):
    rule: Literal["edge_walk"]
    walks_along: ClassVar = "irn"
    cam: Annotated[Name, Of("cams")]
    affinity: Annotated[Name, Of("affinities")]
    threshold: Share = Field(description="background score beside walked maps whose common maximum is 1")
    frame: PositiveInt = Field(
        description="side that images are filled up to, pixels, before edges are found; larger images stay as they are"
    )
    radius: PositiveInt = Field(description="of the walk's steps, cells of 4 pixels")
    beta: PositiveFloat = Field(description="power of the affinities")
    log_steps: PositiveInt = Field(description="the walk has 2^log_steps steps")
    crf: DenseCrf | None = None


def load(block: SimpleNamespace, affinity: SimpleNamespace, weights: str) -> Rule:
    """The walk of a mask block: object maps over their common maximum below a constant background.

    Args:
        block: `threshold` of the background, `frame`, `radius`, `beta`, `log_steps`.
        affinity: settings of the affinity network.
        weights: its trained weights.
    """
    network = affinity_networks.build(affinity)
    load_weights(network, weights)
    network.to(device(), memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def walk(maps: Maps) -> np.ndarray:
        image = maps.image()
        if not len(maps.scores):
            return np.ones((1, *image.shape[:2]), np.float32)
        with autocast(device(), affinity.precision):
            edge = edge_map(network, normalise(image).to(device()), block.frame)
        scores = torch.from_numpy(maps.scores)[None].float()
        scores = interpolate(scores, size=edge.shape, mode="bilinear", align_corners=False)[0].numpy()
        scores = torch.from_numpy(normalised(scores)).to(device())
        full = walked_maps(scores, edge, image.shape[:2], block.radius, block.beta, block.log_steps).cpu().numpy()
        background = np.full((1, *full.shape[1:]), block.threshold, np.float32)
        return np.concatenate([background, full])

    return Rule(walk)


def walked_maps(
    scores: Tensor, edge: Tensor, size: tuple[int, int], radius: int = 5, beta: float = 10, log_steps: int = 8
) -> Tensor:
    """IRN's walk, its maps brought to the image's size and divided by the largest value of all (published code).

    Args:
        scores: (K, h, w), object maps with maxima of 1, h = ceil(H / 4) and w alike.
        edge: (h, w), probability of an edge.
        size: H, W of the image.

    Returns:
        float32 (K, H, W), in [0, 1]; all 0 where nothing is left of the maps.
    """
    full = at_image_size(propagate_along_edges(scores, edge, radius, beta, log_steps), STRIDE, *size)
    largest = full.max()
    return full / largest if largest > 0 else full
