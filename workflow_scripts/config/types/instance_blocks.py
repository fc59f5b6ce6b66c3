"""Types of instance segmentation: masks of boxes, the networks that learn from them, and the systems of its table."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, model_validator

from workflow_scripts.config.types.initial import Initial, Network
from workflow_scripts.config.types.parts import Block, Jitter, Name, Recipe, Share

# Instances


class MaskInstances(Block):
    """The mask of each box: the pixels of its class inside it."""

    rule: Literal["mask"]
    mask: Name = Field(description="a mask block; of whichever rule, the images need boxes")
    overlap: Literal["both", "smaller"] = Field(
        description="pixels that boxes of one class share: of both boxes, or of the smaller one alone"
    )


class TrueInstances(Block):
    """The true masks, as the reference."""

    rule: Literal["truth"]


AnyInstances = Annotated[MaskInstances | TrueInstances, Discriminator("rule")]

# Networks


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


class MaskRcnn(Network):
    network: Literal["mask_rcnn"]
    initial: Initial = Field(description="as of a segmenter")
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


AnyInstanceNetwork = MaskRcnn

# Systems


class PublishedAp(Block):
    dataset: Name
    split: Name
    stage: Literal["instances", "detections"]
    ap: Annotated[float, Field(ge=0, le=100)]
    ap50: Annotated[float, Field(ge=0, le=100)]
    ap75: Annotated[float, Field(ge=0, le=100)]
    ap_small: Annotated[float, Field(ge=0, le=100)]
    ap_medium: Annotated[float, Field(ge=0, le=100)]
    ap_large: Annotated[float, Field(ge=0, le=100)]
    source: str


class InstanceSystem(Block):
    """Instances and, where it has one, the network that learns from them: rows of the table of mask AP."""

    instances: Name
    network: Name | None = None
    published: tuple[PublishedAp, ...] = ()
