"""Types of what transformers have that convolutional networks do not: tokens, attention, their schedule and augmentation."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from workflow_scripts.config.types.parts import AnyOf, Block, Held, Recipe, Share


class Transformer(Block):
    """A network with tokens."""

    patch: PositiveInt = Field(description="side of a patch, pixels")
    depth: PositiveInt = Field(description="layers")

    @property
    def stride(self) -> int:
        """Pixels per cell, as of a convolutional network."""
        return self.patch

    def held(self, crop: int) -> Held | None:
        """As of a backbone."""
        return None


AnyTransformer = Annotated[Transformer, AnyOf("transformers")]


class RandAugment(Block):
    operations: PositiveInt = Field(description="drawn for an image, of fifteen")
    probability: Share = Field(description="that one is applied")
    magnitude: Annotated[float, Field(ge=0, le=10)] = Field(description="mean of the strength, of 10")
    deviation: NonNegativeFloat = Field(description="of the strength's normal distribution")


class AreaRecipe(Recipe):
    """Crops of a random area and shape, stretched to the square crop."""

    area: tuple[Share, Share] = Field(description="range of the crop's share of the image's area")
    aspect: tuple[PositiveFloat, PositiveFloat] = Field(description="range of its width over its height")
    rand_augment: RandAugment | None = Field(None, description="random operations on the crop (Cubuk et al., 2020)")
    augment: Literal["worker"] = Field(description="these crops are made as images are loaded")
    erasing: Share = Field(description="of the crops that lose a random rectangle to noise")

    @model_validator(mode="after")
    def _ranges(self) -> "AreaRecipe":
        if not 0 < self.area[0] <= self.area[1] or self.aspect[0] > self.aspect[1]:
            raise ValueError("ranges of area and aspect rise, and area begins above 0")
        return self


class Modulation(Block):
    fraction: Annotated[float, Field(gt=0, le=1)] = Field(description="of the patches, that are related to one")
    alpha: NonNegativeFloat = Field(description="weight of their mean; 0 changes nothing")


class AttentionMaps(Block):
    """How attention refines the maps of a classifier whose network has it."""

    class_to_patch: bool = Field(description="maps times the attention of their class to the patches")
    patch_to_patch: bool = Field(description="then carried along the attention between patches")
    class_layers: PositiveInt = Field(description="the last so many layers are summed")
    patch_layers: PositiveInt = Field(description="the last so many layers are summed")
    orientation: Literal["query", "key"] = Field(
        description="a patch takes the maps of those that it attends to, or of those that attend to it"
    )
    modulation: Modulation | None = Field(None, description="of the attention of classes by that between patches")
