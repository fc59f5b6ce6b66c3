"""A saliency network on any backbone: its feature maps joined from the deepest to the finest (Lin et al., CVPR 2017)."""

from types import SimpleNamespace
from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import interpolate

from workflow_scripts import networks
from workflow_scripts.config.types import saliency_blocks
from workflow_scripts.config.types.parts import AnyBackbone
from workflow_scripts.networks.saliency_losses import cross_entropy_and_iou


class PyramidNetwork(saliency_blocks.SaliencyNetwork):
    name: Literal["pyramid"]
    backbone: AnyBackbone
    width: PositiveInt = Field(description="channels of the joined feature maps")


class SaliencyNetwork(nn.Module):
    """(B, 3, H, W) normalised images -> (B, 1, H, W) logits.

    Args:
        options: `backbone`, as of a classifier; `width`, channels of the joined maps.
    """

    def __init__(self, options: SimpleNamespace):
        super().__init__()
        self.backbone = networks.build(**vars(options.backbone))
        width = options.width
        self.lateral = nn.ModuleList([nn.Conv2d(channels, width, 1) for channels in self.backbone.pyramid_channels])
        self.smooth = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
                for _ in self.backbone.pyramid_channels
            ]
        )
        self.head = nn.Conv2d(width, 1, 3, padding=1)

    def new_parameters(self) -> list[nn.Parameter]:
        """What is not the backbone."""
        return [*self.lateral.parameters(), *self.smooth.parameters(), *self.head.parameters()]

    def forward(self, images: Tensor) -> Tensor:
        features = None
        maps = zip(self.backbone.pyramid(images), self.lateral, self.smooth, strict=True)
        for finer, lateral, smooth in reversed(list(maps)):
            finer = lateral(finer)
            if features is not None:
                finer = finer + interpolate(features, size=finer.shape[-2:], mode="bilinear", align_corners=False)
            features = smooth(finer)
        return interpolate(self.head(features), size=images.shape[-2:], mode="bilinear", align_corners=False)

    def maps(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) foreground probabilities."""
        return self(images).sigmoid()

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named losses, to be summed; the batch holds `image` and `mask` (B, 1, H, W) in [0, 1]."""
        return cross_entropy_and_iou(self(batch["image"]), batch["mask"])
