"""Mask rule `edge_walk`: soft maps walk where no class boundary that IRN has learnt lies in between."""

from types import SimpleNamespace

import numpy as np
import torch
from torch.nn.functional import interpolate

from workflow_scripts.data.transforms import normalise
from workflow_scripts.data.weights import load_weights
from workflow_scripts.refine import affinity_networks
from workflow_scripts.refine.background import Maps, Rule, normalised
from workflow_scripts.refine.irn import edge_map
from workflow_scripts.refine.random_walk import propagate_along_edges
from workflow_scripts.training.device import autocast, device


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
        scores = torch.from_numpy(normalised(maps.scores)).to(device())
        scores = interpolate(scores[None], size=edge.shape, mode="bilinear", align_corners=False)[0]
        walked = propagate_along_edges(scores, edge, block.radius, block.beta, block.log_steps)
        full = interpolate(walked[None].float(), size=image.shape[:2], mode="bilinear", align_corners=False)[0]
        full = full.cpu().numpy()
        background = np.full((1, *full.shape[1:]), block.threshold, np.float32)
        return np.concatenate([background, full / (full.max() + 1e-5)])

    return Rule(walk)
