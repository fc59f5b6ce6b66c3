"""Classifiers of the papers, one module each, looked up by the name that a block gives as `method`."""

from types import SimpleNamespace

from torch import nn

from workflow_scripts import networks
from workflow_scripts.base.plugins import plugin


def build(block: SimpleNamespace, classes: tuple[str, ...]) -> nn.Module:
    """The classifier of a block for a data set's classes: the method's network on its backbone, weights random.

    Every one has `losses(batch)`, `class_logits(images)`, `maps(images, labels)`, `new_parameters()`, `learns_background`.
    """
    backbone = networks.build(**vars(block.backbone))
    return plugin("methods", block.method).Classifier(backbone, classes, block.options)
