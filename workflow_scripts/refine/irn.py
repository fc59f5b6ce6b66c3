"""IRN's class boundaries (Ahn, Cho and Kwak, CVPR 2019): positions share a class unless an edge lies between them.

Its displacement field, which tells instances apart, is not part of the semantic refinement and is left out.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from workflow_scripts.refine.affinity import affinity_loss, pair_edge_affinity, pair_labels

STRIDE = 4  # pixels per cell of the edge map


class AffinityNetwork(nn.Module):
    """Five feature maps of a frozen backbone, each reduced to 32 channels and brought to stride 4, give an edge logit.

    Args:
        backbone: with `pyramid` and `pyramid_channels`.
        options: `radius` of the training pairs, cells of stride 4 (10 published), and their `border`.
    """

    def __init__(self, backbone: nn.Module, options):
        super().__init__()
        self.backbone, self.options = backbone.requires_grad_(False), options
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, 32, 1, bias=False), nn.GroupNorm(4, 32), nn.ReLU())
            for channels in backbone.pyramid_channels
        )
        self.head = nn.Conv2d(32 * len(self.reduce), 1, 1)

    def train(self, mode: bool = True):
        """The backbone stays as it is, its batch normalisation included."""
        super().train(mode)
        self.backbone.eval()
        return self

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters without initial weights, trained at the head's rate."""
        return [*self.reduce.parameters(), *self.head.parameters()]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> edge logits (B, 1, H / 4, W / 4)."""
        size = -(-images.shape[-2] // STRIDE), -(-images.shape[-1] // STRIDE)
        with torch.no_grad():
            maps = self.backbone.pyramid(images)
        reduced = [
            interpolate(layer(features), size=size, mode="bilinear", align_corners=False)
            for layer, features in zip(self.reduce, maps, strict=True)
        ]
        return self.head(torch.cat(reduced, dim=1))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The affinity loss along lines; the batch holds `image` and `label` (B, H, W), 255 unknown."""
        edge = self(batch["image"]).float().sigmoid()
        radius, border = self.options.radius, self.options.border
        affinity = pair_edge_affinity(edge, radius, border)
        masks = {
            name: pair_labels(batch[name][:, ::STRIDE, ::STRIDE].to(torch.uint8), radius, border)
            for name in ("label", "whole_label")
            if name in batch
        }
        return {"affinity": affinity_loss(affinity, *masks["label"], masks.get("whole_label"))}
