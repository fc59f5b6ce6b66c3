"""What the blocks of affinity networks have; each network has its own class beside its code."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from workflow_scripts.config.types.initial import Initial, Network
from workflow_scripts.config.types.parts import Block, Name, Of, Recipe


class Affinity(Network):
    cam: Annotated[Name, Of("cams")] = Field(description="whose maps give the labels")
    initial: Initial = Field(description="as of a classifier, or {classifier: name} for that one's trained backbone")
    radius: PositiveInt = Field(description="of the training pairs, cells of the network's output")
    border: Literal["published", "padded"] = Field(
        description="cells near the border have no pairs, or those that exist"
    )
    precision: Literal["float32", "bfloat16"] = Field(description="of the network when the walk follows it")
    labels: Block
    recipe: Recipe

    def label_settings(self) -> dict:
        """What its labels depend on, and not its training."""
        return self.labels.model_dump()

    def also_runs(self) -> tuple[str, ...]:
        return (f"data.samples.{self.network}_samples",)
