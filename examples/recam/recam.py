"""ReCAM (Chen et al., CVPR 2022): a second classifier, under a softmax, tells classes apart where the first one sees them.

The first classifier decides on each class alone (binary cross-entropy), so that its maps may share one region. Its map
of a class masks the features of an image, and a second classifier has to name the class of what is left. The maps are
those of both.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.config.types import classifiers
from workflow_scripts.config.types.parts import Block


class RecamOptions(Block):
    softmax_weight: NonNegativeFloat = Field(description="lambda: weight of the softmax cross-entropy")
    maps: Literal["product", "second"] = Field(
        description="weights that maps are made with: both classifiers' multiplied, or the second one's"
    )


class RecamClassifier(classifiers.Classifier):
    method: Literal["recam"]
    options: RecamOptions


def masked_means(features: Tensor, maps: Tensor) -> Tensor:
    """Mean features of an image as each class's map sees it.

    Args:
        features: (B, D, h, w).
        maps: (B, C, h, w), >= 0; each is divided by its maximum, to be a soft mask.

    Returns:
        (B, C, D).
    """
    masks = maps / (maps.amax(dim=(2, 3), keepdim=True) + 1e-5)  # 1e-5 as in the published code
    return torch.einsum("bchw,bdhw->bcd", masks, features) / masks[0, 0].numel()


def softmax_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of what an image's classes are taken for: mean over its classes, then over images.

    Args:
        logits: (B, C, C), of each class's masked features, over the classes.
        labels: (B, C) 0/1. An image without any counts as 0.
    """
    right = logits.log_softmax(dim=2).diagonal(dim1=1, dim2=2)
    return -((right * labels).sum(dim=1) / labels.sum(dim=1).clamp(min=1)).mean()


class Classifier(nn.Module):
    """Backbone and two linear classifiers without bias.

    Args:
        backbone: with `.channels`.
        classes: names of the C object classes.
        options: those of a block, `RecamOptions`.
    """

    learns_background = False

    def __init__(self, backbone: nn.Module, classes: Sequence[str], options):
        super().__init__()
        self.backbone, self.options = backbone, options
        self.first = nn.Conv2d(backbone.channels, len(classes), 1, bias=False)
        self.second = nn.Linear(backbone.channels, len(classes), bias=False)

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters without initial weights, trained at the head's rate."""
        return [self.first.weight, self.second.weight]

    def class_logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C) logits of independent classes, of the first classifier."""
        return self.first(self.backbone(images)).mean(dim=(2, 3))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Two losses, to be summed; the batch holds `image` (B, 3, H, W) and `labels` (B, C) 0/1."""
        features, labels = self.backbone(batch["image"]), batch["labels"]
        scores = self.first(features)
        named = self.second(masked_means(features, scores.relu())).float()
        return {
            "classification": functional.multilabel_soft_margin_loss(scores.mean(dim=(2, 3)).float(), labels),
            "softmax": self.options.softmax_weight * softmax_loss(named, labels),
        }

    def maps(self, images: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        """Maps (B, C, h, w), >= 0; no background map."""
        weight = self.second.weight
        if self.options.maps == "product":
            weight = weight * self.first.weight.flatten(1)
        return functional.conv2d(self.backbone(images), weight[:, :, None, None]).relu(), None
