"""A small saliency network: encoder and decoder with skip connections, image in, foreground probability out."""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate


def _block(inputs: int, outputs: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class SaliencyNetwork(nn.Module):
    """(B, 3, H, W) normalised images -> (B, 1, H, W) logits."""

    def __init__(self) -> None:
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

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross entropy and soft intersection over union, to be summed; the batch holds `image` and `mask` (B, 1, H, W)."""
        logits = self(batch["image"]).float()
        return {
            "saliency": binary_cross_entropy_with_logits(logits, batch["mask"]),
            "iou": iou_loss(logits, batch["mask"]),
        }


def iou_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - the soft intersection over union of each image, averaged (BASNet, Qin et al., CVPR 2019, Eq. 8).

    Args:
        logits: (B, 1, H, W).
        masks: (B, 1, H, W), 0 or 1, none of them empty.
    """
    probabilities = logits.sigmoid()
    both = (probabilities * masks).sum(dim=(1, 2, 3))
    return (1 - both / (probabilities + masks - probabilities * masks).sum(dim=(1, 2, 3))).mean()
