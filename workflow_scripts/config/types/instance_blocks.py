"""Types of instance segmentation: masks of boxes, the networks that learn from them, and the systems of its table."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field

from workflow_scripts.config.types.initial import Initial, Network
from workflow_scripts.config.types.parts import Block, Name, Of, Recipe

# Instances


class MaskInstances(Block):
    """The mask of each box: the pixels of its class inside it."""

    rule: Literal["mask"]
    mask: Annotated[Name, Of("masks")] = Field(description="a mask block; of whichever rule, the images need boxes")
    overlap: Literal["both", "smaller"] = Field(
        description="pixels that boxes of one class share: of both boxes, or of the smaller one alone"
    )


class TrueInstances(Block):
    """The true masks, as the reference."""

    rule: Literal["truth"]


AnyInstances = Annotated[MaskInstances | TrueInstances, Discriminator("rule")]

# Networks


class InstanceNetwork(Network):
    initial: Initial = Field(description="as of a segmenter")
    recipe: Recipe
    finding: Block = Field(description="how a trained network is used; another value trains nothing again")

    def held(self) -> None:
        """Unknown: what is kept depends on boxes more than on the backbone."""


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

    instances: Annotated[Name, Of("instances")]
    network: Annotated[Name, Of("instance_networks")] | None = None
    published: tuple[PublishedAp, ...] = ()
