"""What the blocks of mask rules share, and the rules that only copy; the others have their class beside their code."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types.datasets import Dataset
from workflow_scripts.config.types.parts import Block, Name, Of, Sections, Share, nearest


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
    walks_along: ClassVar[str | None] = None  # the network of the affinities that it names
    two_label_maps: ClassVar[bool] = False

    def maps(self, data: Dataset) -> str | None:
        """The class maps that it is made of on a data set; None where it needs none."""
        return getattr(self, "cam", None)

    def check(self, where: str, sections: Sections) -> None:
        """Refuse affinities of another network than the rule walks along, and a classifier that learns from no boxes."""
        if self.walks_along and (found := sections["affinities"][self.affinity].network) != self.walks_along:
            raise UserError(
                f"{where}.affinity: rule {self.rule!r} walks along network {self.walks_along!r}, "
                f"{self.affinity!r} has {found!r}; name another affinity or rule"
            )
        if self.starts_from == "boxes" and (name := getattr(self, "classifier", None)):
            classifier = sections["classifiers"][name]
            if not classifier.learns_from_boxes:
                boxed = [name for name, block in sections["classifiers"].items() if block.learns_from_boxes]
                raise UserError(
                    f"{where}.classifier: rule {self.rule!r} needs one that learns from boxes, which {name!r} of method "
                    f"{classifier.method!r} does not; {nearest(name, boxed)}"
                )

    def _check_mask(self, where: str, sections: Sections, starts_from: Iterable[str]) -> None:
        """Refuse to be made from a mask without two label maps."""
        known = {
            name: block.two_label_maps and block.starts_from in starts_from for name, block in sections["masks"].items()
        }
        if not known[self.mask]:
            raise UserError(
                f"{where}.mask: rule {self.rule!r} needs two label maps, which rule {sections['masks'][self.mask].rule!r} "
                f"of {self.mask!r} does not give; {nearest(self.mask, [name for name in known if known[name]])}"
            )


class FolderMask(MaskRule):
    """Masks that people made or corrected."""

    rule: Literal["folder"]
    starts_from: ClassVar = "files"
    path: str = Field(
        description="folder of {id}.png, or in the layout of PASCAL VOC; a zip as CVAT exports it; JSON of Label Studio or COCO"
    )
    otherwise: Annotated[Name, Of("masks")] | None = Field(
        None, description="the mask of images that have none there; if null, every image must have one"
    )

    def check(self, where: str, sections: Sections) -> None:
        """Refuse a mask that takes the place of its own missing ones, however far back; other rules name no such mask."""
        path: list[str] = [where.rpartition(".")[2]]
        block: MaskRule | None = self
        while other := getattr(block, "otherwise", None):
            if other in path:
                raise UserError(
                    f"{where}.otherwise: goes in a circle: {' -> '.join([*path, other])}; end with a mask of another rule"
                )
            path.append(other)
            block = sections["masks"].get(other)  # a name that is unknown is told with its own key


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

    def check(self, where: str, sections: Sections) -> None:
        """Refuse a mask with one label map."""
        self._check_mask(where, sections, ("boxes", "masks"))


class PartlyTrueMask(MaskRule):
    """Semi-supervision: other masks, and the truth for the images of one split."""

    rule: Literal["partly_true"]
    starts_from: ClassVar = "masks"
    two_label_maps: ClassVar = True
    mask: Annotated[Name, Of("masks")]
    split: Name = Field(description="whose images have true masks")

    def check(self, where: str, sections: Sections) -> None:
        """Refuse a mask with one label map, and one of this rule: there is no circle."""
        self._check_mask(where, sections, ("boxes",))
