"""Backbones, looked up by name: `build("mobilenet_v2", stride=16, batch_norm="frozen")`."""

from importlib import import_module

from torch import nn


def build(name: str, **options) -> nn.Module:
    """The backbone of that name: (B, 3, H, W) -> (B, channels, h, w), with `.stride` (pixels per cell) and `.channels`."""
    return import_module(f"workflow_scripts.networks.{name}").Backbone(**options)
