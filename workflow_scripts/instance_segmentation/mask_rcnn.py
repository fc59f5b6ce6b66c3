"""Mask R-CNN (He et al., ICCV 2017) of torchvision's parts, its mask loss on reliable pixels alone (BANA, Oh et al., CVPR 2021).

The masks that training is given may say of pixels that they are unreliable: where BANA's two label maps differ. Boxes and
classes are learnt of every instance, masks where they are reliable.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign, roi_align
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.poolers import LevelMapper

from workflow_scripts.config.types import instance_blocks
from workflow_scripts.config.types.parts import Block, Jitter, Recipe, Share


class InstanceRecipe(Recipe):
    crop: PositiveInt = Field(description="side of the square canvas that images are resized into, pixels")
    short_side: tuple[PositiveInt, PositiveInt] = Field(description="range of the resized image's short side, pixels")
    most: PositiveInt = Field(description="instances of an image; of more, so many are drawn")
    jitter: Jitter

    @model_validator(mode="after")
    def _inside(self) -> "InstanceRecipe":
        if max(self.short_side) > self.crop:
            raise ValueError(f"short_side {list(self.short_side)} is larger than the canvas, crop {self.crop}")
        return self


class Sampling(Block):
    """What of an image a stage of the network learns from."""

    count: PositiveInt = Field(description="boxes of an image")
    positive: Share = Field(description="at most this share of them on objects")


class Proposals(Block):
    before: PositiveInt = Field(description="surest ones of each level, before doublets are dropped")
    after: PositiveInt = Field(description="of an image, after that")


class Finding(Block):
    """How a trained network is used; another value trains nothing again."""

    short_side: PositiveInt = Field(description="of the resized image, pixels")
    long_side: PositiveInt = Field(description="at most, of the resized image, pixels; the short side is then shorter")
    proposals: Proposals
    score: Share = Field(description="least score of what is kept")
    overlap: Share = Field(description="of two boxes of a class that overlap by more IoU, the surer one is kept")
    count: PositiveInt = Field(description="instances of an image at most")
    precision: Literal["float32", "bfloat16"]


class MaskRcnn(instance_blocks.InstanceNetwork):
    network: Literal["mask_rcnn"]
    levels: tuple[Annotated[int, Field(ge=0, le=4)], ...] = Field(
        min_length=1,
        description="feature maps of the backbone that the pyramid is made of, of five, the finest being 0",
    )
    channels: PositiveInt = Field(description="of the pyramid's maps")
    anchors: tuple[PositiveInt, ...] = Field(
        description="side of the anchors of each level and of the pooled one above them, pixels"
    )
    ratios: tuple[PositiveFloat, ...] = Field(description="height to width of the anchors")
    pooled_side: PositiveInt = Field(description="boxes of this side, pixels, are pooled from the level of stride 16")
    hidden: PositiveInt = Field(description="channels of the two layers that classify a box")
    mask_channels: tuple[PositiveInt, ...] = Field(description="of the 3x3 layers before the masks")
    frame: PositiveInt = Field(
        description="side of the map that training keeps of each mask, cells; finer ones than 28 are learnt"
    )
    anchor_sampling: Sampling
    box_sampling: Sampling
    proposals: Proposals
    recipe: InstanceRecipe
    finding: Finding

    @model_validator(mode="after")
    def _anchor_of_each_level(self) -> "MaskRcnn":
        if len(self.anchors) != len(self.levels) + 1:
            raise ValueError(f"anchors: {len(self.anchors)} sides for {len(self.levels)} levels and the pooled one")
        return self


BOX_CELLS, MASK_CELLS = 7, 14  # that a box is pooled to; masks are predicted at twice the latter; Mask R-CNN
UNRELIABLE = 255


class InstanceSegmenter(nn.Module):
    """Backbone, feature pyramid, proposals, and heads for class, box and mask.

    Args:
        backbone: a `FeaturePyramid`.
        num_labels: object classes and background.
        options: `levels` of the backbone's five maps, `channels`, `anchors`, `ratios`, `pooled_side`, `hidden`,
            `mask_channels`, `anchor_sampling` and `box_sampling` (`count`, `positive`), `proposals` (`before`, `after`);
            and `finding` where the network is used: `proposals`, `score`, `overlap`, `count`.
    """

    renames = ()

    def __init__(self, backbone: nn.Module, num_labels: int, options):
        super().__init__()
        self.backbone, self.options = backbone, options
        channels = options.channels
        given = [backbone.pyramid_channels[level] for level in options.levels]
        self.pyramid = FeaturePyramidNetwork(given, channels, LastLevelMaxPool())
        anchors = AnchorGenerator(
            tuple((side,) for side in options.anchors), (tuple(options.ratios),) * len(options.anchors)
        )
        finding = getattr(options, "finding", None)
        kept = {"training": options.proposals, "testing": finding.proposals if finding else options.proposals}
        self.rpn = RegionProposalNetwork(
            anchors, RPNHead(channels, len(options.ratios)),
            fg_iou_thresh=0.7, bg_iou_thresh=0.3, nms_thresh=0.7,  # Faster R-CNN
            batch_size_per_image=options.anchor_sampling.count, positive_fraction=options.anchor_sampling.positive,
            pre_nms_top_n={mode: block.before for mode, block in kept.items()},
            post_nms_top_n={mode: block.after for mode, block in kept.items()},
        )  # fmt: skip
        last = options.mask_channels[-1]
        self.heads = Heads(
            self._pool(BOX_CELLS), TwoMLPHead(channels * BOX_CELLS**2, options.hidden),
            FastRCNNPredictor(options.hidden, num_labels),
            fg_iou_thresh=0.5, bg_iou_thresh=0.5,  # Fast R-CNN
            batch_size_per_image=options.box_sampling.count, positive_fraction=options.box_sampling.positive,
            bbox_reg_weights=None,
            score_thresh=finding.score if finding else 0, nms_thresh=finding.overlap if finding else 1,
            detections_per_img=finding.count if finding else 1,
            mask_roi_pool=self._pool(MASK_CELLS), mask_head=MaskRCNNHeads(channels, options.mask_channels, 1),
            mask_predictor=MaskRCNNPredictor(last, last, num_labels),
        )  # fmt: skip

    def _pool(self, cells: int) -> MultiScaleRoIAlign:
        """Pools a box from the level that suits its side; the levels' strides are known, not guessed from sizes."""
        strides = [min(2 ** (level + 1), self.backbone.stride) for level in self.options.levels]
        pool = MultiScaleRoIAlign([str(number) for number in range(len(strides))], cells, sampling_ratio=2)
        exponents = [stride.bit_length() - 1 for stride in strides]
        pool.scales = [1 / stride for stride in strides]
        pool.map_levels = LevelMapper(exponents[0], exponents[-1], self.options.pooled_side)
        return pool

    def new_parameters(self) -> list[nn.Parameter]:
        """All but the backbone's, trained at the head's rate."""
        return [parameter for part in (self.pyramid, self.rpn, self.heads) for parameter in part.parameters()]

    def maps(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """(B, 3, H, W) -> the maps of the pyramid, (B, channels, h, w), the finest first."""
        whole = self.backbone.pyramid(images)
        chosen = OrderedDict((str(number), whole[level]) for number, level in enumerate(self.options.levels))
        return OrderedDict((name, values.float()) for name, values in self.pyramid(chosen).items())

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those of proposals and heads, means over what is sampled.

        The batch holds `image` (B, 3, H, W); `size` (B, 2), height and width of what the image fills from the upper left
        corner on; `boxes` (B, M, 5), x0, y0, x1, y1 in pixels and the 0-based class, -1 in rows that are no instance;
        `frames` (B, M, 4), the rectangles that the `masks`, uint8 (B, M, F, F) of 0, 1 and 255, fill.
        """
        images, targets = batch["image"], []
        for boxes, frames, masks in zip(batch["boxes"], batch["frames"], batch["masks"], strict=True):
            real = boxes[:, 4] >= 0
            target = {"boxes": boxes[real, :4].float(), "labels": boxes[real, 4].long() + 1}
            targets.append(target | {"frames": frames[real].float(), "masks": masks[real]})
        sizes = [(int(height), int(width)) for height, width in batch["size"].tolist()]
        maps = self.maps(images)
        where = "cpu" if images.is_meta else images.device.type
        with torch.autocast(where, enabled=False):  # corners of boxes are lost in half precision
            proposals, losses = self.rpn(ImageList(images, sizes), maps, targets)
            return {name.removeprefix("loss_"): value for name, value in losses.items()} | self.heads.losses(
                maps, proposals, sizes, targets
            )

    def forward(self, images: Tensor, sizes: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
        """For each image `boxes` (N, 4), `labels` (N,) from 1 on, `scores` (N,), `masks` (N, 1, 28, 28) in their boxes."""
        maps = self.maps(images)
        proposals, _ = self.rpn(ImageList(images, list(sizes)), maps)
        return self.heads(maps, proposals, list(sizes))[0]


class Heads(RoIHeads):
    """torchvision's, with losses of their own."""

    def losses(self, maps: dict[str, Tensor], proposals: list[Tensor], sizes: list, targets: list[dict]) -> dict:
        """Of classes, boxes and masks; torchvision's own but for the last."""
        proposals, matched, labels, regression = self.select_training_samples(proposals, targets)
        scores, corrections = self.box_predictor(self.box_head(self.box_roi_pool(maps, proposals, sizes)))
        classifier, box = fastrcnn_loss(scores, corrections, labels, regression)
        positive = [values > 0 for values in labels]
        boxes = [values[chosen] for values, chosen in zip(proposals, positive, strict=True)]
        rows = [values[chosen] for values, chosen in zip(matched, positive, strict=True)]
        logits = self.mask_predictor(self.mask_head(self.mask_roi_pool(maps, boxes, sizes)))
        classes = torch.cat([values[chosen] for values, chosen in zip(labels, positive, strict=True)])
        chosen = [
            projected(target["masks"][row], target["frames"][row], box, logits.shape[-1])
            for target, row, box in zip(targets, rows, boxes, strict=True)
        ]
        wanted, reliable = (torch.cat(parts) for parts in zip(*chosen, strict=True))
        own = logits[torch.arange(len(classes), device=classes.device), classes]
        return {"classifier": classifier, "box_reg": box, "mask": mask_loss(own, wanted, reliable)}


def projected(masks: Tensor, frames: Tensor, boxes: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """What the masks are inside other boxes.

    Args:
        masks: uint8 (N, F, F) of 0, 1 and 255, unreliable; outside of its frame there is no object.
        frames: (N, 4), x0, y0, x1, y1 of each mask in pixels.
        boxes: (N, 4), of which the masks are wanted.
        cells: of these, in either direction.

    Returns:
        Share of object in the reliable part of each cell, float32 (N, cells, cells), and whether at least half of it is
        reliable, bool.
    """
    if not len(masks):
        empty = boxes.new_zeros(0, cells, cells)
        return empty, empty.bool()
    side = masks.shape[-1]
    parts = torch.stack([masks == 1, masks == UNRELIABLE], dim=1).float()
    parts = functional.pad(parts, (1, 1, 1, 1))  # beyond the edge, the nearest cell counts
    corner, extent = frames[:, :2].repeat(1, 2), (frames[:, 2:] - frames[:, :2]).clamp(min=1e-3).repeat(1, 2)
    within = (boxes - corner) / extent * side + 1
    numbers = torch.arange(len(masks), device=masks.device, dtype=within.dtype)[:, None]
    shares = roi_align(parts, torch.cat([numbers, within], dim=1), (cells, cells), aligned=True)
    known = 1 - shares[:, 1]
    return (shares[:, 0] / known.clamp(min=1e-3)).clamp(max=1), known >= 0.5


def mask_loss(logits: Tensor, wanted: Tensor, reliable: Tensor) -> Tensor:
    """Mean binary cross entropy of the reliable cells; 0, with a gradient of 0, where there are none.

    Args:
        logits: (N, h, w), of the class of each box.
        wanted: (N, h, w) in [0, 1].
        reliable: (N, h, w) bool.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return torch.where(reliable, entropy, 0).sum() / reliable.sum().clamp(min=1)
