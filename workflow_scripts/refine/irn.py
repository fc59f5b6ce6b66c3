"""IRN's class boundaries (Ahn, Cho and Kwak, CVPR 2019): positions share a class unless an edge lies between them.

Its displacement field, which tells instances apart, is not part of the semantic refinement and is left out.
"""

from typing import Any, Literal

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types.affinity_blocks import Affinity
from workflow_scripts.config.types.parts import Block, DenseCrf, Sections, SegmenterRecipe, Share
from workflow_scripts.refine.affinity import affinity_loss, pair_edge_affinity, pair_labels


class IrnLabels(Block):
    """Constant background scores: a high one leaves sure objects, a low one sure background."""

    foreground: Share
    background: Share
    belief: Share = Field(description="probability of the hard label that the CRF starts from")
    crf: DenseCrf


class IrnRecipe(SegmenterRecipe):
    bias_multiplier: PositiveFloat = Field(description="rate of biases, times that of the weights")
    bias_decay: bool = Field(description="whether biases decay as weights do")


class Irn(Affinity):
    network: Literal["irn"]
    labels: IrnLabels
    recipe: IrnRecipe

    def check(self, where: str, sections: Sections) -> None:
        """Refuse a form of a backbone whose maps are joined otherwise."""
        super().check(where, sections)
        backbone: Any = self.backbone
        if wanted := {"deeplab": "irn", "seenet": "psa"}.get(getattr(backbone, "form", "")):
            raise UserError(
                f"{where}.backbone.form: network 'irn' joins maps of {backbone.name} as {wanted!r}, "
                f"found {backbone.form!r}; set {wanted}"
            )


STRIDE = 4  # pixels per cell of the edge map


class AffinityNetwork(nn.Module):
    """Five feature maps of a frozen backbone, each reduced to 32 channels and brought to stride 4, give an edge logit.

    As in the published code, group normalisation comes before maps are enlarged, and ReLU after.

    Args:
        backbone: with `pyramid`, `pyramid_channels` and `pyramid_strides`; a ResNet of form "irn" as published.
        options: `radius` of the training pairs, cells of stride 4 (10 published), and their `border`.
    """

    renames = (
        *((rf"fc_edge{layer + 1}\.", f"reduce.{layer}.") for layer in range(5)),
        (r"fc_edge6\.", "head."),
    )  # IRN code
    # The same layers once more, the displacement field, and tables of the pairs' indices.
    unused = ("edge_layers.", "dp_layers.", "fc_dp", "mean_shift.", "path_indices", "disp_target", "ind_from", "ind_to")

    def __init__(self, backbone: nn.Module, options):
        super().__init__()
        self.backbone, self.options = backbone.requires_grad_(False), options
        self.reduce = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, 32, 1, bias=False), nn.GroupNorm(4, 32))
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
        """(B, 3, H, W) -> edge logits (B, 1, ceil(H / 4), ceil(W / 4))."""
        with torch.no_grad():
            taps = self.taps(images)
        return self.head(self.joined(taps))

    def taps(self, images: Tensor) -> list[Tensor]:
        """The backbone's five maps, the first one pooled to stride 4, as IRN takes ResNet's stem after its pooling."""
        first, *others = self.backbone.pyramid(images)
        return [functional.max_pool2d(first, 3, 2, 1), *others]

    def joined(self, taps: list[Tensor]) -> Tensor:
        """Five maps (B, D, h, w) -> (B, 160, h, w) of the size of the second; enlarged by whole factors and cut, not stretched."""
        height, width = taps[1].shape[-2:]
        enlarged = []
        for layer, tap, stride in zip(self.reduce, taps, self.backbone.pyramid_strides, strict=True):
            features = layer(tap)
            if stride > STRIDE:
                features = functional.interpolate(
                    features, scale_factor=stride // STRIDE, mode="bilinear", align_corners=False
                )
            enlarged.append(features[..., :height, :width].relu())
        return torch.cat(enlarged, dim=1)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The affinity loss along lines; the batch holds `image` and `label` (B, H, W), 255 unknown."""
        edge = self(batch["image"]).float().sigmoid()
        radius, border = self.options.radius, self.options.border
        affinity = pair_edge_affinity(edge, radius, border)
        masks = {
            name: pair_labels(cell_labels(batch[name]).to(torch.uint8), radius, border)
            for name in ("label", "whole_label")
            if name in batch
        }
        return {"affinity": affinity_loss(affinity, *masks["label"], masks.get("whole_label"))}


def cell_labels(label: Tensor) -> Tensor:
    """Labels of the edge map's cells: of the pixel in the middle of each, rows and columns 2, 6, 10, ... (IRN's code).

    A last cell that the image cuts off has the label of the pixel nearest to its middle.

    Args:
        label: (..., H, W).

    Returns:
        (..., ceil(H / 4), ceil(W / 4)).
    """
    for dimension in (-2, -1):
        side = label.shape[dimension]
        middle = torch.arange(STRIDE // 2, side + STRIDE // 2, STRIDE, device=label.device)
        label = label.index_select(dimension, middle.clamp_max(side - 1))
    return label


def edge_map(network: nn.Module, image: Tensor, frame: int) -> Tensor:
    """Edge probability of an image: half the logits of the image and of its mirror image together (IRN's code).

    Group normalisation averages over all cells, so that an image is tested on the frame that the network was trained on.
    The published code would cut a larger image; here that side stays as long as it is.

    Args:
        network: an `AffinityNetwork` in evaluation mode.
        image: (3, H, W), normalised, on the network's device.
        frame: side in pixels that the image is filled up to with zeros, on the right and below.

    Returns:
        float32 (ceil(H / 4), ceil(W / 4)) in [0, 1].
    """
    height, width = image.shape[-2:]
    padding = 0, max(0, frame - width), 0, max(0, frame - height)

    def logits(view: Tensor) -> Tensor:
        framed = functional.pad(view[None], padding).contiguous(memory_format=torch.channels_last)
        return network(framed)[0, 0, : -(-height // STRIDE), : -(-width // STRIDE)].float()

    return ((logits(image) + logits(image.flip(-1)).flip(-1)) / 2).sigmoid()
