"""DeepLab-V2 (Chen et al., TPAMI 2018): scores of parallel layers with several dilations, summed, at several image scales."""

from typing import Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import interpolate

from workflow_scripts.config.types.segmenters import ScoringSegmenter
from workflow_scripts.segmentation.losses import label_loss


class Aspp(ScoringSegmenter):
    network: Literal["aspp"]
    dilations: tuple[PositiveInt, ...] = Field(description="of the parallel 3x3 layers, feature cells")
    image_scales: tuple[PositiveFloat, ...] = Field(description="at which training scores the image too, beside 1")


class Segmenter(nn.Module):
    """Backbone and atrous spatial pyramid pooling, trained on the image at several scales.

    Args:
        backbone: with `.channels`.
        num_labels: object classes and background.
        options: `dilations` of the parallel 3x3 layers, in feature cells; `hidden`, null where these layers score at once
            (ResNet-101), or the channels of fc6 and fc7 in every branch (VGG16), with `dropout` after both;
            `image_scales` beside 1, at which training also scores the image; `loss_at`, `align_corners` as `label_loss`.
    """

    # deeplab-pytorch, and its older form
    renames = ((r"(?:(?:base|scale)\.)?aspp\.(?:stages\.)?c(\d)\.", r"branches.\1.0."),)

    def __init__(self, backbone: nn.Module, num_labels: int, options):
        super().__init__()
        self.backbone, self.options = backbone, options
        self.branches = nn.ModuleList(
            _branch(backbone.channels, num_labels, dilation, options) for dilation in options.dilations
        )

    def new_parameters(self) -> list[nn.Parameter]:
        """The scoring layers, trained at the head's rate (fc6 and fc7 learn as the backbone does)."""
        return [parameter for branch in self.branches for parameter in branch[-1].parameters()]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, L, h, w) of the image as it is."""
        features = self.backbone(images)
        return sum(branch(features) for branch in self.branches)

    def all_scales(self, images: Tensor) -> list[Tensor]:
        """Logits of the image, of its scaled copies at their own sizes, and where there are copies the maximum of all."""
        maps = [self(images)]
        for scale in self.options.image_scales:
            maps.append(self(interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)))
        if len(maps) == 1:
            return maps
        size = maps[0].shape[-2:]
        resized = [interpolate(one, size=size, mode="bilinear", align_corners=False) for one in maps[1:]]
        return [*maps, torch.stack([maps[0], *resized]).amax(dim=0)]

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Sum over the scales of the cross entropy; the batch holds `image` and `label` (B, H, W) int64, 255 ignored."""
        options = self.options
        terms = (
            label_loss(logits.float(), batch["label"], options.loss_at, options.align_corners, batch.get("whole_label"))
            for logits in self.all_scales(batch["image"])
        )
        return {"cross_entropy": sum(terms)}


def _branch(channels: int, num_labels: int, dilation: int, options) -> nn.Sequential:
    if not options.hidden:
        layers = [nn.Conv2d(channels, num_labels, 3, padding=dilation, dilation=dilation)]
    else:
        hidden = options.hidden
        layers = [
            nn.Conv2d(channels, hidden, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Dropout2d(options.dropout),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            nn.Dropout2d(options.dropout),
            nn.Conv2d(hidden, num_labels, 1),
        ]
        for layer in (layers[0], layers[3]):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    nn.init.normal_(layers[-1].weight, std=0.01)
    nn.init.zeros_(layers[-1].bias)
    return nn.Sequential(*layers)
