"""BANA (Oh et al., CVPR 2021): boxes instead of labels, background-aware pooling and the noise-aware loss.

What lies outside every box is background for sure, and looks like the background inside the boxes. Features of it are
queries; what resembles them inside a box counts less when the features of the box are pooled.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.config.types import classifiers
from workflow_scripts.config.types.parts import Block, ScaledRecipe, Share


class BanaOptions(Block):
    pooling: Literal["attention", "mean"] = Field(description="of a box's features: background-aware, or all alike")
    grid_size: PositiveInt = Field(description="cells of the background's queries in either direction")
    roi_size: PositiveInt = Field(description="vectors of a box in either direction")
    align_corners: bool = Field(description="of the sampling of the boxes")
    minimum_background: Share = Field(description="of a crop, above which the attention is used")
    initial_deviation: PositiveFloat = Field(description="of the classifier's normal initial weights")


class BanaClassifier(classifiers.Classifier):
    method: Literal["bana"]
    options: BanaOptions
    recipe: ScaledRecipe  # type: ignore[assignment]
    learns_from_boxes: ClassVar[bool] = True

    @model_validator(mode="after")
    def _whole_batches(self) -> "BanaClassifier":
        if self.recipe.accumulate > 1:
            raise ValueError("recipe.accumulate: the loss is a mean over the boxes of the whole batch; set 1")
        return self


EPS = 1e-12  # of the denominators; published code
MINIMUM_BACKGROUND = 0.125  # share of a crop that must be sure background; published code


def background_queries(features: Tensor, background_mask: Tensor, grid_size: int) -> tuple[Tensor, Tensor]:
    """Mean feature of the sure background in every cell of a grid (Eq. 1).

    The feature map is padded with zeros to a multiple of the grid: on both sides where the deficit is even, else on the
    right and below (published code).

    Args:
        features: (B, D, h, w).
        background_mask: (B, 1, H, W), 1 where there is surely no object, else 0; sampled at the features' cells.
        grid_size: cells of the grid in either direction.

    Returns:
        queries (B, G * G, D), zero where a cell has no background, and valid (B, G * G) bool.
    """
    mask = functional.interpolate(background_mask.to(features.dtype), size=features.shape[-2:], mode="nearest")
    padding = [side for length in reversed(features.shape[-2:]) for side in _sides(-length % grid_size)]
    features, mask = functional.pad(features * mask, padding), functional.pad(mask, padding)
    cell = (features.shape[-2] // grid_size, features.shape[-1] // grid_size)
    area = cell[0] * cell[1]
    sums = functional.avg_pool2d(features, cell).flatten(2).transpose(1, 2) * area
    counts = functional.avg_pool2d(mask, cell).flatten(1) * area
    return sums / (counts[:, :, None] + EPS), counts > 0


def background_attention(features: Tensor, queries: Tensor, valid: Tensor) -> Tensor:
    """How much each position resembles the background: mean over the valid queries of ReLU(cosine) (Eq. 2 and 3).

    Args:
        features: (B, D, h, w).
        queries: (B, Q, D).
        valid: (B, Q) bool; an image without any has attention 0.

    Returns:
        (B, 1, h, w) in [0, 1].
    """
    unit = functional.normalize(queries, dim=-1, eps=EPS)
    cosine = torch.einsum("bqd,bdhw->bqhw", unit, functional.normalize(features, dim=1, eps=EPS)).clamp(0, 1)
    weight = valid.to(cosine.dtype)
    weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.einsum("bq,bqhw->bhw", weight, cosine)[:, None]


def background_aware_pooling(
    features: Tensor,
    boxes: Tensor,
    box_image: Tensor,
    background_mask: Tensor,
    grid_size: int = 4,
    roi_size: int = 2,
    align_corners: bool = False,
    attention: bool = True,
    minimum_background: float = MINIMUM_BACKGROUND,
) -> Tensor:
    """Pool the features of every box, positions that look like background weighing less (Eq. 4).

    A box is sampled bilinearly at about the features' own resolution and pooled in roi_size x roi_size bins, which may
    overlap by a row. In an image with little or no sure background all positions weigh the same.

    Args:
        features: (B, D, h, w).
        boxes: (K, 4), x0, y0, x1, y1 in [-1, 1], where -1 and 1 are the centres of the first and last cell.
        box_image: (K,) integer, the image of each box.
        background_mask: (B, 1, H, W), 1 where there is surely no object.
        grid_size: of the background's queries.
        roi_size: bins in either direction; 1 gives one vector a box, as in the paper.
        align_corners: of the sampling. The published code has False by a change of its library's default: it samples
            slightly outside of the box; True samples between the box's corners.
        attention: False gives the plain mean, the paper's baseline "GAP".
        minimum_background: least share of an image that must be background.

    Returns:
        (K, D, roi_size, roi_size), boxes in the order given.
    """
    queries, valid = background_queries(features, background_mask, grid_size)
    enough = background_mask.float().mean(dim=(1, 2, 3)) > minimum_background
    pooled = []
    sampled = zip(boxes.tolist(), _counts(boxes, features.shape[-2:]), box_image.tolist(), strict=True)
    for box, counts, image in sampled:
        roi = _sampled(features[image : image + 1], box, counts, align_corners)
        weight = torch.ones_like(roi[:, :1])
        if attention and enough[image]:
            weight = 1 - background_attention(roi, queries[image : image + 1], valid[image : image + 1])
        pooled.append(_bins(roi * weight, roi_size) / (_bins(weight, roi_size) + EPS))
    return torch.cat(pooled) if pooled else features.new_zeros(0, features.shape[1], roi_size, roi_size)


def noise_aware_loss(
    cosine_logits: Tensor, y_crf: Tensor, y_ret: Tensor, scale: float = 20.0, gamma: float = 7.0, balance: float = 0.1
) -> Tensor:
    """Cross entropy where two label maps agree, and where they differ one weighted by confidence (Eq. 10 to 14).

    The confidence of a label is ((1 + D of the label) / (1 + greatest D)) ^ gamma; gradients flow through it.

    Args:
        cosine_logits: D, (B, L, H, W) in [-1, 1].
        y_crf: integer (B, H, W), 255 is ignored; the label where the maps differ.
        y_ret: integer (B, H, W).
        scale: of the logits in the softmax.
        gamma: damping.
        balance: lambda, weight of the second term.

    Returns:
        Scalar, finite; a term whose set of pixels is empty is 0.
    """
    label, agree, differ = _sets(y_crf, y_ret)
    entropy = functional.cross_entropy(scale * cosine_logits, label, reduction="none")
    weight = confidence(cosine_logits, label, gamma) * differ
    doubtful = (weight * entropy).sum() / weight.sum().clamp(min=EPS)
    return _mean(entropy, agree) + balance * doubtful


def confidence(cosine_logits: Tensor, label: Tensor, gamma: float) -> Tensor:
    """How sure a label is (Eq. 12): (B, H, W) in [0, 1], 1 where no class is closer; `label` int64 (B, H, W)."""
    closeness = 1 + cosine_logits
    own = closeness.gather(1, label[:, None])[:, 0]
    return (own / closeness.amax(dim=1).clamp(min=EPS)).clamp(min=0) ** gamma


def entropy_regularised_loss(
    cosine_logits: Tensor, y_crf: Tensor, y_ret: Tensor, scale: float, balance: float
) -> Tensor:
    """Cross entropy where the maps agree, and `balance` times the mean entropy of the prediction where they differ.

    For the paper's Table 3, which cites Grandvalet and Bengio (NeurIPS 2005) and gives no formula: this one is ours.
    """
    label, agree, differ = _sets(y_crf, y_ret)
    log_probability = (scale * cosine_logits).log_softmax(dim=1)
    sure = functional.nll_loss(log_probability, label, reduction="none")
    spread = -(log_probability.exp() * log_probability).sum(dim=1)
    return _mean(sure, agree) + balance * _mean(spread, differ)


def bootstrapped_loss(
    cosine_logits: Tensor, y_crf: Tensor, y_ret: Tensor, scale: float, balance: float, beta: float
) -> Tensor:
    """Cross entropy where the maps agree; where they differ its target is beta * label + (1 - beta) * own arg-max.

    For the paper's Table 3, which cites Reed et al. (ICLR 2015, hard bootstrapping) and gives no formula for regions:
    that the second term counts `balance` times, as in the noise-aware loss, is ours.
    """
    label, agree, differ = _sets(y_crf, y_ret)
    log_probability = (scale * cosine_logits).log_softmax(dim=1)
    given = functional.nll_loss(log_probability, label, reduction="none")
    own = -log_probability.amax(dim=1)
    return _mean(given, agree) + balance * _mean(beta * given + (1 - beta) * own, differ)


def _sets(y_crf: Tensor, y_ret: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Label without 255, and the pixels where the maps agree and where they differ."""
    known = y_crf != 255
    agree = known & (y_crf == y_ret)
    return torch.where(known, y_crf, 0).long(), agree, known & ~agree


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Over the chosen pixels; 0 where there are none."""
    return torch.where(chosen, values, 0).sum() / chosen.sum().clamp(min=1)


class Classifier(nn.Module):
    """Backbone and a softmax classifier of pooled boxes and background queries, background first, without bias.

    Args:
        backbone: with `.channels`.
        classes: names of the C object classes.
        options: `pooling`, "attention" or "mean"; `grid_size`, `roi_size`, `align_corners`, `minimum_background` of
            `background_aware_pooling`; `initial_deviation` of the normal initial weights.
    """

    learns_background = False

    renames = ((r"classifier\.", "head."),)  # BANA code

    def __init__(self, backbone: nn.Module, classes: Sequence[str], options):
        super().__init__()
        self.backbone, self.options = backbone, options
        self.head = nn.Conv2d(backbone.channels, len(classes) + 1, 1, bias=False)
        nn.init.normal_(self.head.weight, std=options.initial_deviation)

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters without initial weights, trained at the head's rate."""
        return list(self.head.parameters())

    def class_logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C): the log-probability of each class at the cell that is surest of it.

        The classifier is trained on boxes and has no score of a whole image; this one ranks images for average precision.
        """
        return self.head(self.backbone(images)).float().log_softmax(dim=1)[:, 1:].amax(dim=(2, 3))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """One cross entropy over the vectors of all boxes and all background queries.

        The batch holds `image` (B, 3, H, W), `background` (B, 1, H, W) 0/1, and `boxes` (B, M, 5): x0, y0, x1, y1 in
        [-1, 1] and the 0-based class, -1 in rows that are no box.
        """
        options = self.options
        features, background = self.backbone(batch["image"]).float(), batch["background"]
        image, row = torch.nonzero(batch["boxes"][:, :, 4] >= 0, as_tuple=True)
        boxes = batch["boxes"][image, row]
        pooled = background_aware_pooling(
            features, boxes[:, :4], image, background, options.grid_size, options.roi_size,
            options.align_corners, options.pooling == "attention", options.minimum_background,
        )  # fmt: skip
        queries, valid = background_queries(features, background, options.grid_size)
        vectors = torch.cat([pooled.flatten(2).transpose(1, 2).flatten(0, 1), queries[valid]])
        labels = (boxes[:, 4].long() + 1).repeat_interleave(options.roi_size**2)
        labels = torch.cat([labels, labels.new_zeros(int(valid.sum()))])
        logits = self.head(vectors[:, :, None, None]).flatten(1).float()
        loss = functional.cross_entropy(logits, labels, reduction="sum") / max(1, len(labels))
        return {"boxes_and_background": loss}

    def maps(self, images: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        """Class activation maps (B, C, h, w), >= 0; what is background is said by attention, not by a map."""
        return self.head(self.backbone(images))[:, 1:].relu(), None


def _sides(deficit: int) -> tuple[int, int]:
    """Padding before and after."""
    return (0, deficit) if deficit % 2 else (deficit // 2, deficit // 2)


def _counts(boxes: Tensor, size: Sequence[int]) -> list[list[int]]:
    """Samples across and down each box, at about the resolution of features of that height and width.

    In float32 and in this order, as published: corners that lie on a cell must not be rounded off it.
    """
    half = (boxes.new_tensor([size[1], size[0]]).float() - 1) / 2
    starts, ends = (boxes[:, corner].float() * half + half for corner in (slice(0, 2), slice(2, 4)))
    return (ends.ceil() - starts.floor()).clamp(min=1).int().tolist()


def _sampled(features: Tensor, box: Sequence[float], counts: Sequence[int], align_corners: bool) -> Tensor:
    """(1, D, h, w) -> (1, D, bh, bw): bilinear samples of a box from corner to corner."""
    x0, y0, x1, y1 = box
    columns, rows = (
        torch.linspace(start, end, count, device=features.device, dtype=features.dtype)
        for start, end, count in ((x0, x1, counts[0]), (y0, y1, counts[1]))
    )
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)[None]
    return functional.grid_sample(features, grid, align_corners=align_corners)


def _bins(maps: Tensor, size: int) -> Tensor:
    """Sums over size x size bins that cover a map (1, D, h, w); a side shorter than the bins is repeated."""
    height, width = maps.shape[-2:]
    maps = functional.pad(maps, (0, max(0, size - width), 0, max(0, size - height)), mode="replicate")
    height, width = maps.shape[-2:]
    stride = (height // size, width // size)
    kernel = (height - (size - 1) * stride[0], width - (size - 1) * stride[1])
    return functional.avg_pool2d(maps, kernel, stride)
