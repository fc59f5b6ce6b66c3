"""IRN's class boundaries (Ahn, Cho and Kwak, CVPR 2019): positions share a class unless an edge lies between them.

Its displacement field, which tells instances apart, is not part of the semantic refinement and is left out.
"""

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from workflow_scripts.refine.affinity import affinity_loss, pair_edge_affinity, pair_labels
from workflow_scripts.refine.dense_crf import dense_crf

STRIDE = 4  # pixels per cell of the edge map
UNKNOWN = 255
BELIEF = 0.7  # in the labels that the CRF starts from; published code


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
        label = batch["label"][:, ::STRIDE, ::STRIDE].to(torch.uint8)
        radius, border = self.options.radius, self.options.border
        affinity = pair_edge_affinity(edge, radius, border)
        return {"affinity": affinity_loss(affinity, *pair_labels(label, radius, border))}


def training_label(
    image: np.ndarray, scores: np.ndarray, classes: np.ndarray, options: SimpleNamespace, cell: int
) -> np.ndarray:
    """IRN's label map at image size: sure objects by a high background score, sure background by a low one.

    Args:
        image: uint8 (H, W, 3) RGB.
        scores: (K, H, W), maps divided by their maxima.
        classes: (K,) 0-based.
        options: `foreground` and `background`, the constant background scores of the two arg-maxes (0.30 and 0.05
            published); `crf`, whose unary is built from hard labels, of which 0.7 is believed.
        cell: not used, the label has the size of the image.

    Returns:
        uint8 (H, W): 0 sure background, class + 1 sure object, 255 unknown.
    """
    decisions = []
    for threshold in (options.foreground, options.background):
        stack = np.concatenate([np.full((1, *scores.shape[1:]), threshold, scores.dtype), scores])
        hard = stack.argmax(axis=0)
        labels = len(stack)
        believed = np.full(stack.shape, (1 - BELIEF) / max(1, labels - 1), np.float32)
        np.put_along_axis(believed, hard[None], BELIEF, axis=0)
        crf = options.crf
        decisions.append(dense_crf(image, believed, crf.bilateral, crf.gaussian, crf.iterations).argmax(axis=0))
    values = np.concatenate([[UNKNOWN], classes + 1]).astype(np.uint8)
    label = values[decisions[0]]
    label[(decisions[0] == 0) & (decisions[1] == 0)] = 0
    return label
