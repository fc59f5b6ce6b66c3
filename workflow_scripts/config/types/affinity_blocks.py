"""Types of the affinity networks."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt

from workflow_scripts.config.types.initial import Initial, Network
from workflow_scripts.config.types.parts import Block, DenseCrf, Jitter, Name, Recipe, SegmenterRecipe, Share


class AffinityLabels(Block):
    """Alphas of the background (1 - max score)^alpha: a low one leaves sure objects, a high one sure background."""

    low: PositiveFloat
    high: PositiveFloat
    crf: DenseCrf


class AffinityRecipe(Recipe):
    jitter: Jitter


class IrnRecipe(SegmenterRecipe):
    bias_multiplier: PositiveFloat = Field(description="rate of biases, times that of the weights")
    bias_decay: bool = Field(description="whether biases decay as weights do")


class IrnLabels(Block):
    """Constant background scores: a high one leaves sure objects, a low one sure background."""

    foreground: Share
    background: Share
    belief: Share = Field(description="probability of the hard label that the CRF starts from")
    crf: DenseCrf


class Affinity(Network):
    cam: Name = Field(description="whose maps give the labels")
    initial: Initial = Field(description="as of a classifier, or {classifier: name} for that one's trained backbone")
    radius: PositiveInt = Field(description="of the training pairs, cells of the network's output")
    border: Literal["published", "padded"] = Field(
        description="cells near the border have no pairs, or those that exist"
    )
    precision: Literal["float32", "bfloat16"] = Field(description="of the network when the walk follows it")


class AffinityNet(Affinity):
    network: Literal["affinity_net"]
    labels: AffinityLabels
    head: Literal[448, 896] = Field(description="channels: of the published code, or of the papers")
    group_norm: bool = Field(description="of the three reduced feature maps")
    distance: Literal["mean", "sum"] = Field(description="of features, over channels: published code, or papers")
    recipe: AffinityRecipe


class Irn(Affinity):
    network: Literal["irn"]
    labels: IrnLabels
    recipe: IrnRecipe


AnyAffinity = Annotated[AffinityNet | Irn, Discriminator("network")]
