"""Types of the rules that make pseudo masks."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from workflow_scripts.config.types.box_blocks import BOX_RULES, DERIVED_RULES
from workflow_scripts.config.types.parts import Block, DenseCrf, Name, Share


class HeldOutThreshold(Block):
    """A threshold chosen on the data set's `thresholds` split, which has truth: the mask then depends on that truth."""

    chosen_on: Literal["thresholds"]


def _threshold_tag(data: Any) -> str:
    return "chosen" if isinstance(data, dict | HeldOutThreshold) else "number"


Threshold = Annotated[
    Annotated[Share, Tag("number")] | Annotated[HeldOutThreshold, Tag("chosen")], Discriminator(_threshold_tag)
]


class ConstantMask(Block):
    rule: Literal["constant"]
    cam: Name
    threshold: Threshold = Field(description="background score beside maps whose maximum is 1")
    crf: DenseCrf | None = None


class LearntMask(Block):
    rule: Literal["learnt"]
    cam: Name
    crf: DenseCrf | None = None


class ProxyMask(Block):
    rule: Literal["proxy"]
    cam: Name
    saliency: Name
    weight: PositiveFloat = Field(description="of the maps in their harmonic mean with saliency")
    conflict: Share | None = Field(None, description="ignored: pixels where the maps of two classes exceed it")
    unsalient: Share | None = Field(None, description="ignored: pixels whose saliency is below it")
    crf: DenseCrf | None = None


class RandomWalkMask(Block):
    rule: Literal["random_walk"]
    cam: Name
    affinity: Name
    alpha: PositiveFloat | None = Field(None, description="background (1 - max score)^alpha; or, instead,")
    threshold: Threshold | None = Field(None, description="constant background score")
    hard: bool = Field(description="the arg-max walks, not the soft maps")
    beta: PositiveFloat = Field(description="power of the affinities")
    log_steps: PositiveInt = Field(description="the walk has 2^log_steps steps")
    border: Literal["published", "padded"] = Field(
        description="cells near the border lose neighbours, or keep those that exist"
    )
    crf: DenseCrf | None = None

    @model_validator(mode="after")
    def _one_background(self) -> "RandomWalkMask":
        if (self.alpha is None) == (self.threshold is None):
            raise ValueError("a random walk has a background by alpha or by threshold, one of them")
        return self


class EdgeWalkMask(Block):
    rule: Literal["edge_walk"]
    cam: Name
    affinity: Name
    threshold: Share = Field(description="background score beside walked maps whose common maximum is 1")
    frame: PositiveInt = Field(
        description="side that images are filled up to, pixels, before edges are found; larger images stay as they are"
    )
    radius: PositiveInt = Field(description="of the walk's steps, cells of 4 pixels")
    beta: PositiveFloat = Field(description="power of the affinities")
    log_steps: PositiveInt = Field(description="the walk has 2^log_steps steps")
    crf: DenseCrf | None = None


class FolderMask(Block):
    """Masks that people made or corrected."""

    rule: Literal["folder"]
    path: str = Field(description="folder of {id}.png, or in the layout of PASCAL VOC, or a zip as CVAT exports it")
    otherwise: Name | None = Field(
        None, description="the mask of images that have none there; if null, every image must have one"
    )


class TruthMask(Block):
    rule: Literal["truth"]


Mask = Annotated[
    ConstantMask
    | LearntMask
    | ProxyMask
    | RandomWalkMask
    | EdgeWalkMask
    | BOX_RULES
    | DERIVED_RULES
    | FolderMask
    | TruthMask,
    Discriminator("rule"),
]
