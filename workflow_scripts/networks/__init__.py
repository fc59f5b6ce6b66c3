"""Backbones, looked up by name: `build("mobilenet_v2", stride=16, batch_norm="frozen")`."""

from torch import nn

from workflow_scripts.base.plugins import plugin


def build(name: str, **options) -> nn.Module:
    """The backbone of that name: (B, 3, H, W) -> (B, channels, h, w), with `.stride` (pixels per cell) and `.channels`."""
    return plugin("networks", name).Backbone(**options)
