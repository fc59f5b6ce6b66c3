"""What the blocks of segmentation networks have; each network has its own class beside its code."""

from typing import Literal

from pydantic import Field, PositiveInt

from workflow_scripts.config.types.initial import Initial, Network
from workflow_scripts.config.types.parts import Recipe, ScaledRecipe, SegmenterRecipe, Share


class Segmenter(Network):
    initial: Initial = Field(description="as of a classifier, or {classifier: name} for that one's trained backbone")
    recipe: Recipe

    def also_runs(self) -> tuple[str, ...]:
        """The samples of recipes with a range of scales, whose masks may have two label maps."""
        return ("data.samples.cosine_samples",) if isinstance(self.recipe, ScaledRecipe) else ()

    def weighs_labels(self) -> bool:
        """Whether its loss weighs the pixels of its labels by how sure they are."""
        return False


class ScoringSegmenter(Segmenter):
    hidden: PositiveInt | None = Field(None, description="channels between backbone and scores; none if null")
    dropout: Share = Field(description="share of the hidden channels dropped")
    loss_at: Literal["labels", "logits"] = Field(
        description="logits are up-sampled to the labels, or labels sampled at the logits' cells"
    )
    align_corners: bool = Field(description="of the up-sampling of the logits to the labels in the loss")
    recipe: SegmenterRecipe
