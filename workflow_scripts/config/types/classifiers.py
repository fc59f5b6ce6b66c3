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

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Classes that the block names, by the key where it does."""
        return {}
