"""Segmentation networks, one module each, looked up by the name that a block gives as `network`."""

from types import SimpleNamespace

from torch import nn

from workflow_scripts import networks
from workflow_scripts.base.plugins import plugin


def build(block: SimpleNamespace, num_labels: int) -> nn.Module:
    """The segmentation network of a block, weights random: (B, 3, H, W) -> logits (B, num_labels, h, w)."""
    backbone = networks.build(**vars(block.backbone))
    return plugin("segmentation", block.network).Segmenter(backbone, num_labels, block)
