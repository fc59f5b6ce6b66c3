"""What the blocks of all classifiers have; each method has its own class beside its code."""

from typing import Any, ClassVar

from pydantic import Field

from workflow_scripts.base.errors import UserError
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
    has_attention: ClassVar[bool] = False  # its maps are told how attention refines them
    takes_roots: ClassVar[bool] = False  # its maps are told whether they are square roots

    def also_runs(self) -> tuple[str, ...]:
        """The samples that its training draws, where they are not those of others."""
        area = ("data.samples.area_samples",) if hasattr(self.recipe, "area") else ()
        return (*area, "data.samples.box_samples") if self.learns_from_boxes else area

    def check_maps(self, where: str, cam: Any) -> None:
        """As `check`, of a block of cams: refuse what it asks for and the method cannot give."""
        for key, asked, other in (("merge", cam.merge == "max", "mean"), ("normalise", cam.normalise, "null")):
            if asked and self.learns_background:
                raise UserError(
                    f"{where}.{key}: {getattr(cam, key)} scales each map by itself, which breaks the background that "
                    f"{self.method!r} learns; use {other}"
                )
        if self.has_attention != (cam.attention is not None):
            what = "has none; take it away" if cam.attention else "needs it; inherit from cams of this method"
            raise UserError(f"{where}.attention: method {self.method!r} {what}")
        if cam.square_root and not self.takes_roots:
            raise UserError(f"{where}.square_root: method {self.method!r} takes no roots of its maps; set false")

    def map_modules(self, cam: Any) -> tuple[str, ...]:
        """Modules that its maps import by name, as a block of cams asks for them."""
        return ()

    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Classes that the block names, by the key where it does."""
        return {}
