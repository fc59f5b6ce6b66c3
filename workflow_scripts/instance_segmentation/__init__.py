"""Networks of instance segmentation, one module each, looked up by the name that a block gives as `network`."""

from types import SimpleNamespace

from torch import nn

from workflow_scripts import networks
from workflow_scripts.base.plugins import plugin


def build(block: SimpleNamespace, num_labels: int) -> nn.Module:
    """The network of a block, weights random; `num_labels` counts the object classes and background."""
    backbone = networks.build(**vars(block.backbone))
    return plugin("instance_segmentation", block.network).InstanceSegmenter(backbone, num_labels, block)
