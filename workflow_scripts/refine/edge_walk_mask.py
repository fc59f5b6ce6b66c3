"""Mask rule `edge_walk`: soft maps walk where no class boundary that IRN has learnt lies in between."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn.functional import interpolate

from workflow_scripts.data.transforms import normalise
from workflow_scripts.data.weights import load_weights
from workflow_scripts.refine import affinity_networks
from workflow_scripts.refine.background import constant_background
from workflow_scripts.refine.irn import STRIDE
from workflow_scripts.refine.random_walk import propagate_along_edges
from workflow_scripts.training.device import autocast, device

RADIUS = 5  # cells of stride 4, at inference; published code


def load(
    affinity: SimpleNamespace, weights: str, block: SimpleNamespace
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The walk of a mask block: (image, object scores) -> object maps over their common maximum below a background.

    Args:
        affinity: settings of the affinity network.
        weights: its trained weights.
        block: `threshold` of the background, `beta`, `log_steps`.
    """
    network = affinity_networks.build(affinity)
    load_weights(network, weights)
    network.to(device(), memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def walk(image: np.ndarray, scores: np.ndarray) -> np.ndarray:
        if not len(scores):
            return np.ones((1, *image.shape[:2]), np.float32)
        inputs = normalise(image)[None].to(device()).contiguous(memory_format=torch.channels_last)
        with autocast(device(), affinity.precision):
            logits = network(inputs).float(), network(inputs.flip(-1)).float().flip(-1)
        edge = ((logits[0] + logits[1]) / 2).sigmoid()[0, 0]
        maps = torch.from_numpy(constant_background(scores, 0.0)[1:]).to(device())
        maps = interpolate(maps[None], size=edge.shape, mode="bilinear", align_corners=False)[0]
        walked = propagate_along_edges(maps, edge, RADIUS, block.beta, block.log_steps)
        size = edge.shape[0] * STRIDE, edge.shape[1] * STRIDE
        full = interpolate(walked[None].float(), size=size, mode="bilinear", align_corners=False)[0]
        full = full[:, : image.shape[0], : image.shape[1]].cpu().numpy()
        background = np.full((1, *full.shape[1:]), block.threshold, np.float32)
        return np.concatenate([background, full / (full.max() + 1e-5)])

    return walk
