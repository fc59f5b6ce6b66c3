"""Pseudo labels from boxes and a classifier's features (BANA, Oh et al., CVPR 2021, 3.2), without up-sampled features.

The paper computes on features up-sampled to the image's size, 0.7 GiB for each copy at 500 x 375 pixels and 1,024
channels. Bilinear up-sampling is linear: products with a vector and means over a region commute with it, and the
length of an up-sampled feature follows from the inner products of the cells around it. So nothing of that size is made.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

EPS = 1e-12  # of denominators; published code


@dataclass(frozen=True)
class Upsampled:
    """Features (D, h, w) as if up-sampled bilinearly to (D, height, width)."""

    features: Tensor
    height: int
    width: int
    align_corners: bool

    @cached_property
    def _weights(self) -> tuple[Tensor, Tensor]:
        """(height, h) and (width, w): the share of each cell in each row and column."""
        return tuple(
            functional.interpolate(
                torch.eye(cells, device=self.features.device, dtype=self.features.dtype)[None],
                size=pixels,
                mode="linear",
                align_corners=self.align_corners,
            )[0].T
            for cells, pixels in zip(self.features.shape[1:], (self.height, self.width), strict=True)
        )

    def products(self, vectors: Tensor) -> Tensor:
        """Inner product of every up-sampled feature with each of the vectors: (Q, D) -> (Q, height, width)."""
        rows, columns = self._weights
        return rows @ torch.einsum("qd,dhw->qhw", vectors, self.features) @ columns.T

    @cached_property
    def lengths(self) -> Tensor:
        """(height, width): L2 norm of every up-sampled feature."""
        padded = functional.pad(self.features[None], (0, 1, 0, 1), mode="replicate")[0]
        corners = [
            padded[:, down : down + self.features.shape[1], right : right + self.features.shape[2]]
            for down in (0, 1)
            for right in (0, 1)
        ]
        (top, down), (left, right) = (self._neighbours(weights) for weights in self._weights)
        shares = [
            vertical[:, None] * horizontal[None] for vertical in (1 - down, down) for horizontal in (1 - right, right)
        ]
        total = torch.zeros(self.height, self.width, dtype=self.features.dtype, device=self.features.device)
        for one in range(4):
            for other in range(one, 4):
                inner = (corners[one] * corners[other]).sum(dim=0)[top][:, left]
                total += (1 if one == other else 2) * shares[one] * shares[other] * inner
        return total.clamp(min=0).sqrt()

    @staticmethod
    def _neighbours(weights: Tensor) -> tuple[Tensor, Tensor]:
        """For each row (or column) of pixels the first of its two cells, and the share of the second."""
        cells = torch.arange(weights.shape[1], device=weights.device, dtype=weights.dtype)
        position = (weights * cells).sum(dim=1)
        first = position.floor().clamp(0, weights.shape[1] - 1)
        return first.long(), position - first

    def cosines(self, vectors: Tensor) -> Tensor:
        """Cosine of every up-sampled feature with each of the vectors: (Q, D) -> (Q, height, width)."""
        return self.products(functional.normalize(vectors, dim=1, eps=EPS)) / self.lengths.clamp(min=EPS)

    def means(self, regions: Tensor) -> Tensor:
        """Mean of the up-sampled features over each region, (Q, height, width) bool -> (Q, D); zero where it is empty."""
        rows, columns = self._weights
        low = rows.T @ regions.to(self.features.dtype) @ columns
        sums = torch.einsum("qhw,dhw->qd", low, self.features)
        return sums / regions.sum(dim=(1, 2)).clamp(min=1)[:, None]


def background_attention(features: Upsampled, background: Tensor, grid_size: int = 1) -> Tensor | None:
    """Resemblance to the sure background: mean over a grid's cells of ReLU(cosine) with their background (Eq. 1 to 3).

    Args:
        features: of the image.
        background: bool (H, W), outside every box.
        grid_size: cells in either direction; those without background do not count.

    Returns:
        (H, W) in [0, 1], or None where no background is sure.
    """
    height, width = background.shape
    cells = torch.zeros(grid_size**2, height, width, dtype=torch.bool, device=background.device)
    for number in range(grid_size**2):
        rows, columns = (
            slice(index * side // grid_size, (index + 1) * side // grid_size)
            for index, side in zip(divmod(number, grid_size), (height, width), strict=True)
        )
        cells[number, rows, columns] = background[rows, columns]
    cells = cells[cells.any(dim=(1, 2))]
    if not len(cells):
        return None
    return features.cosines(features.means(cells)).clamp(0, 1).mean(dim=0)


def box_unary(
    features: Upsampled,
    weights: Tensor,
    regions: Tensor,
    boxes: list[tuple[int, slice, slice]],
    background: str = "attention",
    grid_size: int = 1,
    threshold: float = 0.99,
    threshold_of: str = "maximum",
    normalised: str = "box",
    softmax: bool = True,
) -> Tensor:
    """Scores of background and classes from which a dense CRF starts (Eq. 5 to 7).

    Args:
        features: of the image.
        weights: (K + 1, D) of the classifier, background and the image's K classes.
        regions: bool (K, H, W), the union of each class's boxes.
        boxes: row in `regions`, rows and columns of pixels of each box; later ones overwrite earlier ones of their class.
        background: "attention", or "cam" for the class activation map of the background (the ablation without u_0), which
            also stands in where an image has no sure background.
        grid_size, threshold: attention below the threshold is 0.
        threshold_of: "maximum" of the attention (published code), or "one" (paper).
        normalised: class maps divided by their maximum in each "box" (published code), or over the "image" (paper).
        softmax: over the K + 1 scores inside the boxes (published code; not in the paper).

    Returns:
        (K + 1, H, W), background first; outside the boxes it is 1 and all else 0.
    """
    inside = regions.any(dim=0)
    maps = features.products(weights).clamp(min=0)
    attention = background_attention(features, ~inside, grid_size) if background == "attention" else None
    if attention is not None:
        limit = threshold * (attention.max() if threshold_of == "maximum" else 1)
        first = torch.where(attention < limit, 0, attention)
    else:
        first = _normalised(maps[:1], [(0, rows, columns) for _, rows, columns in boxes], normalised)[0]
    rest = _normalised(maps[1:], boxes, normalised) * regions
    unary = torch.cat([torch.where(inside, first, 1)[None], rest])
    return torch.where(inside, unary.softmax(dim=0), unary) if softmax else unary


def _normalised(maps: Tensor, boxes: list[tuple[int, slice, slice]], by: str) -> Tensor:
    if by == "image":
        return maps / maps.amax(dim=(1, 2), keepdim=True).clamp(min=EPS)
    result = torch.zeros_like(maps)
    for row, rows, columns in boxes:
        part = maps[row, rows, columns]
        result[row, rows, columns] = part / (part.max() + EPS)
    return result


def retrieved(features: Upsampled, weights: Tensor, label: Tensor, regions: Tensor, in_boxes: bool = True) -> Tensor:
    """Labels by the nearest class prototype, which is the mean feature of a class in another label map (Eq. 8 and 9).

    Args:
        features: of the image.
        weights: (K + 1, D) of the classifier, the prototype of a class that the label map does not have.
        label: (H, W) integer, 0 background, k + 1 for row k of `regions`.
        regions: bool (K, H, W).
        in_boxes: ReLU'd cosines, classes only inside their boxes and background for sure outside all (published code);
            False takes the greatest cosine anywhere (paper).

    Returns:
        (H, W) int64, as `label`.
    """
    masks = label == torch.arange(len(weights), device=label.device)[:, None, None]
    prototypes = torch.where(masks.any(dim=(1, 2))[:, None], features.means(masks), weights)
    cosines = features.cosines(prototypes)
    if in_boxes:
        cosines = cosines.clamp(min=0)
        cosines[0] = torch.where(regions.any(dim=0), cosines[0], 1)
        cosines[1:] *= regions
    return cosines.argmax(dim=0)
