"""Types of what BANA adds: masks that start from boxes or from other masks, and losses on two label maps."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from workflow_scripts.config.types.parts import Block, DenseCrf, Name, Share

# Masks


class FilledBoxMask(Block):
    rule: Literal["boxes"]


class GrabCutMask(Block):
    rule: Literal["grabcut"]
    iterations: PositiveInt = Field(description="of GrabCut, between colour models and cut")


class BoxCrfMask(Block):
    rule: Literal["box_crf"]
    core: Share = Field(description="share of a box's area, in its middle, that is surely the object")
    crf: DenseCrf


class BoxUnaryMask(Block):
    rule: Literal["box_unary"]
    classifier: Name = Field(description="whose features and weights; of method bana")
    background: Literal["attention", "cam"] = Field(
        description="score of the background: its attention, or the classifier's map of it (without u_0)"
    )
    grid_size: PositiveInt = Field(description="cells of the background's queries in either direction")
    threshold: Share = Field(description="attention below it does not count")
    threshold_of: Literal["maximum", "one"] = Field(
        description="the threshold is a share of the image's maximum, or of 1"
    )
    normalised: Literal["box", "image"] = Field(
        description="class maps are divided by their maximum over the box or image"
    )
    softmax: bool = Field(description="over the scores, inside the boxes, before the CRF")
    retrieval_in_boxes: bool = Field(
        description="the second label map has classes only inside their boxes, background for sure outside all"
    )
    align_corners: bool = Field(description="of the up-sampling of the features")
    precision: Literal["float32", "bfloat16"]
    crf: DenseCrf | None = None


class BoxAttentionMask(Block):
    """As `box_unary` without class maps, for classes that the classifier does not know: 1 - u_0 is the object."""

    rule: Literal["box_attention"]
    classifier: Name = Field(description="whose features are used; of method bana")
    dataset: Name | None = Field(None, description="that the classifier was trained on; this one if null")
    grid_size: PositiveInt = Field(description="cells of the background's queries in either direction")
    threshold: Share = Field(description="attention below it does not count")
    threshold_of: Literal["maximum", "one"] = Field(
        description="the threshold is a share of the image's maximum, or of 1"
    )
    softmax: bool = Field(description="over the two scores, inside the boxes, before the CRF")
    retrieval_in_boxes: bool = Field(description="the second label map has background for sure outside all boxes")
    align_corners: bool = Field(description="of the up-sampling of the features")
    precision: Literal["float32", "bfloat16"]
    crf: DenseCrf | None = None


class ChosenMask(Block):
    """One label map made of the two of other masks."""

    rule: Literal["chosen"]
    mask: Name
    label: Literal["label_retrieved", "agreement"] = Field(
        description="the second label map; or both where they agree, ignored elsewhere"
    )


class PartlyTrueMask(Block):
    """Semi-supervision: other masks, and the truth for the images of one split."""

    rule: Literal["partly_true"]
    mask: Name
    split: Name = Field(description="whose images have true masks")


BOX_RULES = FilledBoxMask | GrabCutMask | BoxCrfMask | BoxUnaryMask | BoxAttentionMask
DERIVED_RULES = ChosenMask | PartlyTrueMask

# Losses of network `cosine`


class CrossEntropy(Block):
    rule: Literal["cross_entropy"]


class NoiseAware(Block):
    rule: Literal["noise_aware"]
    gamma: PositiveFloat = Field(description="power of the confidence of labels where the two maps differ")
    balance: NonNegativeFloat = Field(description="lambda: weight of the loss where the two maps differ")


class EntropyRegularised(Block):
    rule: Literal["entropy"]
    balance: NonNegativeFloat = Field(description="weight of the prediction's entropy where the two maps differ")


class Bootstrapped(Block):
    rule: Literal["bootstrap"]
    balance: NonNegativeFloat = Field(description="weight of the loss where the two maps differ")
    beta: Share = Field(description="share of the label in the target there; the prediction's arg-max has the rest")


CosineLoss = Annotated[CrossEntropy | NoiseAware | EntropyRegularised | Bootstrapped, Discriminator("rule")]
