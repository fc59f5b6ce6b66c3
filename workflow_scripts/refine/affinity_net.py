"""AffinityNet (Ahn and Kwak, CVPR 2018): features whose distance tells whether neighbouring positions share a class."""

from typing import Literal

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn.functional import elu

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types.affinity_blocks import Affinity
from workflow_scripts.config.types.parts import Block, DenseCrf, Jitter, Recipe, Sections
from workflow_scripts.refine.affinity import affinity_loss, pair_affinity, pair_labels


class AffinityLabels(Block):
    """Alphas of the background (1 - max score)^alpha: a low one leaves sure objects, a high one sure background."""

    low: PositiveFloat
    high: PositiveFloat
    crf: DenseCrf


class AffinityRecipe(Recipe):
    jitter: Jitter


class AffinityNet(Affinity):
    network: Literal["affinity_net"]
    labels: AffinityLabels
    head: Literal[448, 896] = Field(description="channels: of the published code, or of the papers")
    group_norm: bool = Field(description="of the three reduced feature maps")
    distance: Literal["mean", "sum"] = Field(description="of features, over channels: published code, or papers")
    recipe: AffinityRecipe

    def label_settings(self) -> dict:
        return self.labels.model_dump() | {"cell": self.backbone.stride}

    def check(self, where: str, sections: Sections) -> None:
        """Refuse features of another stride."""
        super().check(where, sections)
        if self.backbone.stride != 8:
            raise UserError(
                f"{where}.backbone.stride: network 'affinity_net' joins features of stride 8, "
                f"found {self.backbone.stride}; set 8"
            )


# Channels taken from the three feature maps: the published code, and the paper (as the EPS reproduction describes it).
HEADS = {448: (64, 128, 256), 896: (128, 256, 512)}


class AffinityNetwork(nn.Module):
    """Three feature maps of a backbone, each reduced by a 1x1 layer, joined and mixed by another; ELU after each.

    Args:
        backbone: of stride 8, with `taps` and `tap_channels`.
        options: `head` (448 or 896 channels), `distance` ("mean" or "sum" over channels), `group_norm` before the first ELUs,
            `radius` in feature cells, `border` of the pairs.
    """

    renames = (  # PSA, SEAM code
        *((rf"f8_{layer + 3}\.", f"reduce.{layer}.") for layer in range(3)),
        *((rf"gn8_{layer + 3}\.", f"norm.{layer}.") for layer in range(3)),
        (r"f9\.", "mix."),
    )

    def __init__(self, backbone: nn.Module, options):
        super().__init__()
        self.backbone, self.options = backbone, options
        widths = HEADS[options.head]
        self.reduce = nn.ModuleList(
            nn.Conv2d(channels, width, 1, bias=False)
            for channels, width in zip(backbone.tap_channels, widths, strict=True)
        )
        groups = [width // 8 if options.group_norm else 0 for width in widths]
        self.norm = nn.ModuleList(
            nn.GroupNorm(group, width) if group else nn.Identity() for group, width in zip(groups, widths, strict=True)
        )
        self.mix = nn.Conv2d(sum(widths), sum(widths), 1, bias=False)
        for layer in self.reduce:
            nn.init.kaiming_normal_(layer.weight)
        # The published gain is for the mean distance; a sum over channels would start so far apart that exp() is 0.
        gain = 4 if options.distance == "mean" else 4 / sum(widths)
        nn.init.xavier_uniform_(self.mix.weight, gain=gain)

    def new_parameters(self) -> list[nn.Parameter]:
        """Convolutions without initial weights, trained at the head's rate; normalisation learns with the backbone, as in PSA's code."""
        return [*self.reduce.parameters(), *self.mix.parameters()]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> features (B, 448 or 896, H / 8, W / 8)."""
        taps = zip(self.reduce, self.norm, self.backbone.taps(images), strict=True)
        reduced = [elu(norm(layer(tap))) for layer, norm, tap in taps]
        return elu(self.mix(torch.cat(reduced, dim=1)))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The affinity loss; the batch holds `image` (B, 3, H, W) and `label` (B, H / 8, W / 8) uint8, 255 unknown."""
        radius, border = self.options.radius, self.options.border
        affinity = pair_affinity(self(batch["image"]).float(), radius, self.options.distance, border)
        whole = pair_labels(batch["whole_label"], radius, border) if "whole_label" in batch else None
        return {"affinity": affinity_loss(affinity, *pair_labels(batch["label"], radius, border), whole)}
