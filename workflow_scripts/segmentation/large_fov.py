"""DeepLab-LargeFOV (Chen et al., ICLR 2015 and TPAMI 2018): a 3x3 layer with a large dilation on top of the backbone."""

from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import relu

from workflow_scripts.config.types.segmenters import ScoringSegmenter
from workflow_scripts.segmentation.losses import label_loss


class LargeFov(ScoringSegmenter):
    network: Literal["large_fov"]
    dilation: PositiveInt = Field(description="of every 3x3 layer of the head, feature cells")
    score_kernel: Literal[1, 3] = Field(description="side of the scoring layer")


class Segmenter(nn.Module):
    """Backbone, a dilated 3x3 layer with ReLU and dropout where the block has `hidden` channels, and the scoring layer.

    Args:
        backbone: with `.channels`.
        num_labels: object classes and background.
        options: `hidden` channels or null; `dropout` after them; `score_kernel`, 1 or 3; `dilation` of every 3x3 layer,
            in feature cells; `loss_at` and `align_corners` as `label_loss`.
    """

    renames = (
        (r"fc8_seg_conv1\.", "context."),  # MCTformer code
        (r"fc8_seg_conv2\.", "head."),
        (r"(?:base\.)?fc\.", "head."),  # deeplab-pytorch
    )

    def __init__(self, backbone: nn.Module, num_labels: int, options):
        super().__init__()
        self.backbone, self.options = backbone, options
        channels, self.context = backbone.channels, None
        if options.hidden:
            self.context = _layer(channels, options.hidden, 3, options.dilation)
            nn.init.kaiming_normal_(self.context.weight, nonlinearity="relu")
            channels = options.hidden
        self.dropout = nn.Dropout2d(options.dropout)
        self.head = _layer(channels, num_labels, options.score_kernel, options.dilation)
        nn.init.normal_(self.head.weight, std=0.01)

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters without initial weights, trained at the head's rate."""
        return [*(self.context.parameters() if self.context else ()), *self.head.parameters()]

    def forward(self, images: Tensor) -> Tensor:
        features = self.backbone(images)
        if self.context:
            features = self.dropout(relu(self.context(features)))
        return self.head(features)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross entropy; the batch holds `image` (B, 3, H, W) and `label` (B, H, W) int64, 255 ignored."""
        logits = self(batch["image"]).float()
        loss = label_loss(
            logits, batch["label"], self.options.loss_at, self.options.align_corners, batch.get("whole_label")
        )
        return {"cross_entropy": loss}


def _layer(inputs: int, outputs: int, kernel: int, dilation: int) -> nn.Conv2d:
    dilation = dilation if kernel > 1 else 1
    layer = nn.Conv2d(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation)
    nn.init.zeros_(layer.bias)
    return layer
