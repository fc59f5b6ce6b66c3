"""Soft predictions of a segmentation network, merged over test scales and mirrored copies."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workflow_scripts import segmentation
from workflow_scripts.data import transforms
from workflow_scripts.data.checkpoints.weights import load_weights
from workflow_scripts.data.maps import stored_size
from workflow_scripts.segmentation.pyramids import copies
from workflow_scripts.training.device import autocast, device


def load(block: SimpleNamespace, num_labels: int, weights: str) -> nn.Module:
    """The trained segmentation network of a block, in evaluation mode, on the device of the job."""
    network = segmentation.build(block, num_labels)
    load_weights(network, weights)
    return network.to(device(), memory_format=torch.channels_last).eval()


def soft_prediction(network: nn.Module, image: np.ndarray, options) -> np.ndarray:
    """Softmax probabilities of one image.

    Args:
        network: (1, 3, H, W) -> logits (1, L, h, w); `.backbone.stride` in pixels.
        image: uint8 (H, W, 3) RGB.
        options: `merge`, as of `merged_scores`, with all that it takes; `resolution`.

    Returns:
        float16 (L, ceil(H / resolution), ceil(W / resolution)); with "max" they do not sum to 1.
    """
    height, width = image.shape[:2]
    merged = merged_scores(network, image, options)
    if options.merge == "max_logits":
        merged = transforms.resize_maps(merged, height, width, options.align_corners)
    if options.merge.endswith("logits"):
        merged = merged.softmax(dim=1)
    stored = stored_size(height, width, options.resolution)
    return nn.functional.interpolate(merged, size=stored, mode="area")[0].cpu().numpy().astype(np.float16)


@torch.inference_mode()
def merged_scores(network: nn.Module, image: np.ndarray, options) -> Tensor:
    """What a network says of an image at all scales, and of its mirrored copies, in one.

    Args:
        network: as of `soft_prediction`.
        image: uint8 (H, W, 3) RGB.
        options: `scales`, `flip`, `resize`, as `pyramids.copies`; `merge` over the passes ("mean" or "max" of the
            probabilities; "mean_logits" at the image's pixels; "max_logits" at the cells of the first pass);
            `align_corners` of the up-sampling; `precision`.

    Returns:
        float32 (1, L, H, W), with "max_logits" (1, L, h, w): probabilities, or logits where the merge is of these.
    """
    size, where = image.shape[:2], next(network.parameters()).device
    merged: Any = None
    passes = 0
    at_cells, mean = options.merge == "max_logits", options.merge.startswith("mean")
    for tensor, mirrored in copies(image, options, network.backbone.stride):
        with autocast(where, options.precision):
            logits = network(tensor.to(where).contiguous(memory_format=torch.channels_last))
        scores = logits.float().flip(-1) if mirrored else logits.float()
        if not at_cells or passes:
            height, width = merged.shape[-2:] if at_cells else size
            scores = transforms.resize_maps(scores, height, width, options.align_corners)
        if not options.merge.endswith("logits"):
            scores = scores.softmax(dim=1)
        if not passes:
            merged = scores
        else:
            merged = merged + scores if mean else torch.maximum(merged, scores)
        passes += 1
    return merged / passes if mean else merged
