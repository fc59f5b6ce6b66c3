"""What the blocks of all classifiers have; each method has its own class beside its code."""

from typing import ClassVar

from pydantic import Field

from workflow_scripts.config.types.initial import Initial, Network
from workflow_scripts.config.types.parts import ClassifierRecipe


class Classifier(Network):
    initial: Initial = Field(
        description="initial backbone weights: random, imagenet (torchvision), a path, {url, sha256}, or {classifier: name}: "
        "that one's trained backbone, which a hybrid transformer takes for its stem"
    )
    recipe: ClassifierRecipe
    learns_background: ClassVar[bool] = False
    learns_from_boxes: ClassVar[bool] = False
    estimates_saliency: ClassVar[bool] = False
    erases: ClassVar[bool] = False

    def also_runs(self) -> tuple[str, ...]:
        """The samples that its training draws, where they are not those of others."""
        area = ("data.samples.area_samples",) if hasattr(self.recipe, "area") else ()
        return (*area, "data.samples.box_samples") if self.learns_from_boxes else area

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Classes that the block names, by the key where it does."""
        return {}
