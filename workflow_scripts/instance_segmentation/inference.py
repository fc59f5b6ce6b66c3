"""What a network of instance segmentation finds in an image."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torchvision.models.detection.roi_heads import paste_masks_in_image

from workflow_scripts import instance_segmentation
from workflow_scripts.data import transforms
from workflow_scripts.data.checkpoints.weights import load_weights
from workflow_scripts.data.instances import Instances, from_masks
from workflow_scripts.training.device import autocast, device

MULTIPLE = 32  # pixels, of the sides of what a network is given


def load(block: SimpleNamespace, num_labels: int, weights: str) -> nn.Module:
    """The trained network of a block, in evaluation mode, on the device of the job."""
    network = instance_segmentation.build(block, num_labels)
    load_weights(network, weights)
    return network.to(device(), memory_format=torch.channels_last).eval()


@torch.inference_mode()
def detections(network: nn.Module, image: np.ndarray, options) -> Instances:
    """Instances of one image, the surest first; those without a pixel are left out.

    Args:
        network: of `load`.
        image: uint8 (H, W, 3) RGB.
        options: `short_side` and `long_side`, pixels that the image is resized to; `precision`.
    """
    size, where = image.shape[:2], next(network.parameters()).device
    scale = min(options.short_side / min(size), options.long_side / max(size))
    height, width = transforms.scaled_size(size[0], size[1], scale)
    resized = transforms.normalise(transforms.resized(image, height, width))
    padded = nn.functional.pad(resized, (0, -width % MULTIPLE, 0, -height % MULTIPLE))[None]
    with autocast(where, options.precision):
        (found,) = network(padded.to(where).contiguous(memory_format=torch.channels_last), [(height, width)])
    factors = found["boxes"].new_tensor([size[1] / width, size[0] / height] * 2)
    boxes, labels = found["boxes"].float() * factors, found["labels"] - 1
    masks = paste_masks_in_image(found["masks"].float(), boxes, size)[:, 0] >= 0.5
    kept = masks.flatten(1).any(dim=1)
    masks, rows = masks[kept].cpu().numpy(), torch.cat([boxes, labels[:, None]], dim=1)[kept].cpu().numpy()
    instances = from_masks(list(masks), rows[:, 4].astype(int), scores=found["scores"][kept].float().cpu().numpy())
    return replace(instances, boxes=rows.astype(np.float32))
