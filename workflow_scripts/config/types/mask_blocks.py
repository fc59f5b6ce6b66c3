"""What the blocks of mask rules share, and the rules that only copy; the others have their class beside their code."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from workflow_scripts.config.types.parts import Block, Name, Of, Share


class HeldOutThreshold(Block):
    """A threshold chosen on the data set's `thresholds` split, which has truth: the mask then depends on that truth."""

    chosen_on: Literal["thresholds"]


def _threshold_tag(data: Any) -> str:
    return "chosen" if isinstance(data, dict | HeldOutThreshold) else "number"


Threshold = Annotated[
    Annotated[Share, Tag("number")] | Annotated[HeldOutThreshold, Tag("chosen")], Discriminator(_threshold_tag)
]


class MaskRule(Block):
    starts_from: ClassVar[Literal["cams", "boxes", "masks", "files"]] = "cams"


class FolderMask(MaskRule):
    """Masks that people made or corrected."""

    rule: Literal["folder"]
    starts_from: ClassVar = "files"
    path: str = Field(description="folder of {id}.png, or in the layout of PASCAL VOC, or a zip as CVAT exports it")
    otherwise: Annotated[Name, Of("masks")] | None = Field(
        None, description="the mask of images that have none there; if null, every image must have one"
    )


class TruthMask(MaskRule):
    rule: Literal["truth"]
    starts_from: ClassVar = "files"


class ChosenMask(MaskRule):
    """One label map made of the two of other masks."""

    rule: Literal["chosen"]
    starts_from: ClassVar = "masks"
    mask: Annotated[Name, Of("masks")]
    label: Literal["label_retrieved", "agreement"] = Field(
        description="the second label map; or both where they agree, ignored elsewhere"
    )


class PartlyTrueMask(MaskRule):
    """Semi-supervision: other masks, and the truth for the images of one split."""

    rule: Literal["partly_true"]
    starts_from: ClassVar = "masks"
    mask: Annotated[Name, Of("masks")]
    split: Name = Field(description="whose images have true masks")
