"""DeepLab-LargeFOV (Chen et al., ICLR 2015 and TPAMI 2018): a 3x3 layer with a large dilation on top of the backbone."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Segmenter(nn.Module):
    """Backbone, dilated 3x3 layer with ReLU, dropout, and a 1x1 layer that scores every label.

    Args:
        backbone: with `.channels`.
        num_labels: object classes and background.
        options: `hidden` channels, `dilation` in feature cells, `dropout`, `align_corners` of the up-sampling in the loss.
    """

    def __init__(self, backbone: nn.Module, num_labels: int, options):
        super().__init__()
        self.backbone = backbone
        self.align_corners = options.align_corners
        self.context = nn.Conv2d(
            backbone.channels, options.hidden, 3, padding=options.dilation, dilation=options.dilation
        )
        self.dropout = nn.Dropout2d(options.dropout)
        self.head = nn.Conv2d(options.hidden, num_labels, 1)
        nn.init.kaiming_normal_(self.context.weight, nonlinearity="relu")
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.context.bias)
        nn.init.zeros_(self.head.bias)

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters without initial weights, trained at the head's rate."""
        return [*self.context.parameters(), *self.head.parameters()]

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.dropout(torch.relu(self.context(self.backbone(images)))))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy at the labels' resolution, mean over the pixels that are not 255.

        The batch holds `image` (B, 3, H, W) and `label` (B, H, W) int64.
        """
        logits = self(batch["image"]).float()
        logits = functional.interpolate(
            logits, size=batch["label"].shape[-2:], mode="bilinear", align_corners=self.align_corners
        )
        known = (batch["label"] != 255).sum().clamp(min=1)
        return {
            "cross_entropy": functional.cross_entropy(logits, batch["label"], ignore_index=255, reduction="sum") / known
        }
