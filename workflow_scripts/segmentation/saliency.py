"""Saliency maps by the trained saliency network."""

from collections.abc import Callable

import numpy as np
import torch

from workflow_scripts.data.transforms import normalise
from workflow_scripts.data.weights import load_weights
from workflow_scripts.networks.saliency import SaliencyNetwork
from workflow_scripts.training.device import device


def detector(weights: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from an image, uint8 (H, W, 3) RGB, to its saliency map, uint8 (H, W)."""
    torch.set_num_threads(1)
    network = SaliencyNetwork()
    load_weights(network, weights)
    network.to(device()).eval()

    @torch.inference_mode()
    def detect(image: np.ndarray) -> np.ndarray:
        logits = network(normalise(image)[None].to(device()))
        return (logits.sigmoid()[0, 0] * 255).round().byte().cpu().numpy()

    return detect
