"""A small saliency network: encoder and decoder with skip connections, image in, foreground probability out."""

from types import SimpleNamespace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from workflow_scripts.config.types import saliency_blocks
from workflow_scripts.networks.saliency_losses import cross_entropy_and_iou


class SmallNetwork(saliency_blocks.SaliencyNetwork):
    name: Literal["small"]
    starts_random: ClassVar[bool] = True


def _block(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class SaliencyNetwork(nn.Module):
    """(B, 3, H, W) normalised images -> (B, 1, H, W) logits."""

    def __init__(self, options: SimpleNamespace) -> None:
        super().__init__()
        self.down1 = _block(3, 16, 2)
        self.down2 = _block(16, 32, 2)
        self.down3 = _block(32, 64, 2)
        self.bottom = nn.Sequential(_block(64, 64, 2), _block(64, 64, dilation=2), _block(64, 64, dilation=4))
        self.up3 = _block(128, 48)
        self.up2 = _block(80, 32)
        self.up1 = _block(48, 24)
        self.head = nn.Conv2d(24, 1, 3, padding=1)

    def new_parameters(self) -> list[nn.Parameter]:
        """None: the whole network learns at one rate."""
        return []

    def forward(self, images: Tensor) -> Tensor:
        one = self.down1(images)
        two = self.down2(one)
        three = self.down3(two)
        features = self.bottom(three)
        for skip, up in ((three, self.up3), (two, self.up2), (one, self.up1)):
            features = interpolate(features, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            features = up(torch.cat([features, skip], dim=1))
        return interpolate(self.head(features), size=images.shape[-2:], mode="bilinear", align_corners=False)

    def maps(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) foreground probabilities."""
        return self(images).sigmoid()

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named losses, to be summed; the batch holds `image` and `mask` (B, 1, H, W) in [0, 1]."""
        return cross_entropy_and_iou(self(batch["image"]), batch["mask"])
