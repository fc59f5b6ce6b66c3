"""Types of the blocks of kind `saliency`: detectors, their networks, what they learn from and how."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from workflow_scripts.config.types.initial import Named
from workflow_scripts.config.types.parts import (
    ORIENTATION,
    AnyOf,
    Block,
    DenseCrf,
    Orientation,
    Schedule,
    Share,
)

# Networks


class Form(Block):
    side: PositiveInt | None = Field(
        None, description="of the square that an image is padded to, pixels; null: as it is"
    )
    padding: Literal["black", "mean"] = Field(description="colour about the image; mean is 0 after normalisation")


class SaliencyNetwork(Block):
    starts_random: ClassVar[bool] = False

    def check_side(self, side: int | None) -> None:
        """Refuse squares that the network cannot take.

        Raises:
            ValueError: what the block says instead.
        """


AnyNetwork = Annotated[SaliencyNetwork, AnyOf("saliency_networks")]


# What networks learn from


class RenderedData(Block):
    rendered: PositiveInt = Field(description="class-less objects to render, images")


class FolderData(Block):
    images: str = Field(description="folder of photographs, as DUTS-TR-Image")
    masks: str = Field(description="folder of {name}.png, 8-bit, 255 on what is salient, as DUTS-TR-Mask")
    orientation: Orientation = ORIENTATION


def _data_tag(data: Any) -> str:
    return "rendered" if "rendered" in (data if isinstance(data, dict) else data.model_fields_set) else "folder"


Data = Annotated[
    Annotated[RenderedData, Tag("rendered")] | Annotated[FolderData, Tag("folder")], Discriminator(_data_tag)
]


class SaliencyRecipe(Schedule):
    head_multiplier: PositiveFloat | None = Field(
        None, description="rate of new layers (of dss: scoring layers), times learning_rate; null for network small"
    )
    crop: Annotated[float, Field(ge=0, lt=1)] = Field(description="most of each side that a random crop takes off")
    rotation: NonNegativeFloat = Field(description="greatest, either way, degrees")
    contrast: Share = Field(description="factor on the colours drawn from [1 - x, 1 + x]")
    light: NonNegativeFloat = Field(description="added to the colours, greatest, either way, grey levels")


# Detectors


class Detector(Block):
    """How maps come about; `crf`, where it has one, sharpens them."""

    def given_weights(self) -> Named | None:
        """Weights that are not trained here and that no package brings."""
        return None


class FolderSaliency(Detector):
    detector: Literal["folder"]
    path: str = Field(description="folder of {id}.png, 8-bit, as large as the image")


class Detected(Detector):
    crf: DenseCrf | None = Field(None, description="sharpens the maps")


class LearntSaliency(Detected):
    network: AnyNetwork
    input: Form
    initial: Named = Field(description="as of a classifier; random for network small")
    seed: NonNegativeInt
    recipe: SaliencyRecipe

    @model_validator(mode="after")
    def _fits(self) -> "LearntSaliency":
        self.network.check_side(self.input.side)
        random, name = self.network.starts_random, self.network.name
        if random and self.initial != "random":
            raise ValueError(f"network {name} has no initial weights, set initial: random")
        if random != (self.recipe.head_multiplier is None):
            raise ValueError("recipe.head_multiplier is for networks with initial weights, and all of them")
        return self
