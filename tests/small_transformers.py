"""A vision transformer of a few thousand weights, MCTformer on it, and images to show it."""

from types import SimpleNamespace

import torch
from torch import nn

from workflow_scripts import networks
from workflow_scripts.methods import mctformer

CLASSES = ("a", "b", "c")
TINY = {"patch": 8, "width": 24, "depth": 4, "heads": 3, "grid": 4}
ATTENTION = {
    "class_to_patch": True,
    "patch_to_patch": True,
    "class_layers": 3,
    "patch_layers": 4,
    "orientation": "query",
}


def transformer(**options) -> nn.Module:
    torch.manual_seed(0)
    return networks.build("vision_transformer", **TINY | options)


def classifier(version: str = "v2", classes=CLASSES, **options) -> mctformer.Classifier:
    return mctformer.Classifier(transformer(**options), classes, SimpleNamespace(version=version)).eval()


def images(height: int = 32, width: int = 40, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def maps(network: nn.Module, picture: torch.Tensor, modulation: dict | None = None, **attention) -> torch.Tensor:
    chosen = SimpleNamespace(**ATTENTION | attention, modulation=modulation and SimpleNamespace(**modulation))
    with torch.inference_mode():
        return network.maps(picture, None, chosen)[0]
