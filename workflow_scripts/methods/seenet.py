"""Self-erasing network, SeeNet (Hou et al., NeurIPS 2018): attention that is kept from spreading into the background.

A first branch finds the sure region. A second one sees the features without it, and with the sign reversed where the
first finds nothing, so that it turns to the rest of the object. A third one sees only what is likely background and
learns that no class is there. Without reversal and third branch it is ACoL (Zhang et al., CVPR 2018).
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.config.types import classifiers
from workflow_scripts.config.types.parts import Block, Share


class SeeNetOptions(Block):
    hidden: PositiveInt = Field(description="channels of the 3x3 layers of a branch")
    layers: PositiveInt = Field(description="3x3 layers of a branch")
    dropout: Share = Field(description="share of a branch's last hidden activations dropped")
    initial_deviation: PositiveFloat | None = Field(
        None, description="of a branch's normal initial weights; if null, that of He et al. for its width"
    )
    high: Share = Field(description="attention of the first branch above which the second sees nothing")
    low: Share = Field(description="attention of the first branch below which is background")
    background: Literal["reversed", "zeroed"] = Field(description="what the second branch sees of the background")
    third_below: Share | None = Field(
        None,
        description="attention below which a third branch, which learns that there is nothing, sees; or no such branch",
    )
    shared: bool = Field(description="second and third branch have the same weights")
    reduction: Literal["mean", "sum"] = Field(description="of the cross-entropies over classes")


class SeeNetClassifier(classifiers.Classifier):
    method: Literal["seenet"]
    erases: ClassVar[bool] = True
    options: SeeNetOptions


def object_attention(scores: Tensor, labels: Tensor) -> Tensor:
    """One map of an image's objects: the maximum over its classes of ReLU'd maps, each stretched to [0, 1].

    Args:
        scores: (B, C, h, w) class scores before pooling, any sign.
        labels: (B, C) 0/1; maps of other classes count as 0.

    Returns:
        (B, 1, h, w) in [0, 1), detached.
    """
    maps = scores.detach().relu()
    low, high = torch.amin(maps, dim=(2, 3), keepdim=True), torch.amax(maps, dim=(2, 3), keepdim=True)
    stretched = (maps - low) / (high - low + 1e-8)  # 1e-8 as in the published code
    return (stretched * labels.to(maps.dtype)[:, :, None, None]).amax(dim=1, keepdim=True)


def ternary_mask(scores: Tensor, labels: Tensor, high: float = 0.7, low: float = 0.05) -> Tensor:
    """Three zones by the attention of the first branch: 0 sure object, -1 background, 1 what lies between (SeeNet, 3.2).

    Args:
        scores: (B, C, h, w) class scores of the first branch.
        labels: (B, C) 0/1.
        high: attention above it is the object's sure zone. 0.7 in the paper, 0.8 in the published network.
        low: attention below it is background. 0.05 in the paper; 0 in the published network, where nothing is below.

    Returns:
        (B, 1, h, w) in {-1, 0, 1}, detached, in the dtype of `scores`.
    """
    attention = object_attention(scores, labels)
    mask = torch.ones_like(attention)
    mask[attention < low] = -1
    mask[attention > high] = 0
    return mask


def conditional_relu(features: Tensor, mask: Tensor) -> Tensor:
    """Conditionally reversed linear units: max(x, 0) times the mask (SeeNet, Eq. 2).

    The gradient follows: none where the mask is 0, reversed where it is -1. (The published code's own backward pass
    loses the erased zone of all but one channel, a mistake.)

    Args:
        features: (B, D, h, w).
        mask: (B, 1, h, w).
    """
    return features.relu() * mask


class Branch(nn.Sequential):
    """3x3 layers with ReLU, dropout, and class scores by a 1x1 layer.

    Args:
        options: `hidden`, `layers`, `dropout`; `initial_deviation` of the normal distribution that weights are drawn from,
            or None for one that keeps the variance of the activations whatever the width (He et al., ICCV 2015).
    """

    def __init__(self, inputs: int, classes: int, options):
        hidden, parts = options.hidden, []
        for number in range(options.layers):
            parts += [nn.Conv2d(hidden if number else inputs, hidden, 3, padding=1), nn.ReLU()]
        super().__init__(*parts, nn.Dropout(options.dropout), nn.Conv2d(hidden, classes, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                if options.initial_deviation is None:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                else:
                    nn.init.normal_(module.weight, std=options.initial_deviation)
                nn.init.zeros_(module.bias)


class Classifier(nn.Module):
    """Backbone and two or three branches on its last features.

    Args:
        backbone: with `.channels`.
        classes: names of the C object classes.
        options: those of `Branch`; `high`, `low` of the ternary mask; `background`, "reversed" or
            "zeroed", what the second branch sees below `low`; `third_below`, below which the third branch sees the
            features, or None for no such branch; `shared`, whether second and third have the same weights; `reduction`,
            "mean" or "sum" of the binary cross-entropies over classes.
    """

    learns_background = False

    def __init__(self, backbone: nn.Module, classes: Sequence[str], options):
        super().__init__()
        self.backbone, self.options = backbone, options

        def branch() -> Branch:
            return Branch(backbone.channels, len(classes), options)

        self.first, self.second = branch(), branch()
        self.third = branch() if options.third_below is not None and not options.shared else None

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters without initial weights, trained at the head's rate."""
        branches = [self.first, self.second, self.third]
        return [parameter for branch in branches if branch is not None for parameter in branch.parameters()]

    def class_logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C) logits of independent classes, of the first branch: the second needs labels."""
        return self.first(self.backbone(images)).mean(dim=(2, 3))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A loss for each branch, to be summed; the batch holds `image` (B, 3, H, W) and `labels` (B, C) 0/1."""
        features, labels, options = self.backbone(batch["image"]), batch["labels"], self.options
        first, second = self._scores(features, labels)
        losses = {"first": self._entropy(first, labels), "second": self._entropy(second, labels)}
        if options.third_below is not None:
            background = (object_attention(first, labels) < options.third_below).to(features.dtype)
            branch = self.second if self.third is None else self.third
            losses["third"] = self._entropy(branch(conditional_relu(features, background)), torch.zeros_like(labels))
        return losses

    def maps(self, images: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        """Maps of the first branch, then those of the second: (2 B, C, h, w), >= 0; no background map."""
        first, second = self._scores(self.backbone(images), labels)
        return torch.cat([first, second]).relu(), None

    def _scores(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        first = self.first(features)
        mask = ternary_mask(first, labels, self.options.high, self.options.low)
        if self.options.background == "zeroed":
            mask = mask.relu()
        return first, self.second(conditional_relu(features, mask))

    def _entropy(self, scores: Tensor, labels: Tensor) -> Tensor:
        logits = scores.float().mean(dim=(2, 3))
        loss = functional.binary_cross_entropy_with_logits(logits, labels)
        return loss * labels.shape[1] if self.options.reduction == "sum" else loss
