"""Types of the blocks of kind `saliency`: detectors, their networks, what they learn from and how."""

from typing import Annotated, Any, Literal

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
    AnyBackbone,
    Block,
    DenseCrf,
    Name,
    Orientation,
    Schedule,
    Share,
)

# Networks


class SmallNetwork(Block):
    name: Literal["small"]


class PyramidNetwork(Block):
    name: Literal["pyramid"]
    backbone: AnyBackbone
    width: PositiveInt = Field(description="channels of the joined feature maps")


class PfanNetwork(Block):
    name: Literal["pfan"]
    high_level_kernel: Literal[1, 3] = Field(
        description="side of the layer on high-level features: official code, port"
    )
    colours: Literal["torch", "keras"] = Field(
        description="torch: mean 0, deviation 1; keras: RGB less the means of BGR, as the official code has it"
    )
    batch_norm: Literal["running", "batch"] = Field(
        description="running: statistics of the training, as the port; batch: its own, at test time too, as official"
    )
    dropout: Share = Field(description="share of activations dropped after every stage of VGG16")
    edge_weight: Share = Field(description="of the loss on edges; the loss on maps has the rest")
    positive_weight: PositiveFloat = Field(description="of foreground in the loss on maps, beside background")


class DssNetwork(Block):
    name: Literal["dss"]
    form: Literal["caffe", "port"] = Field(description="as published, or its PyTorch port")
    averaged: tuple[Literal[1, 2, 3, 4, 5, 6], ...] = Field(description="side outputs averaged with the fusion")
    reduction: Literal["sum", "mean"] = Field(description="of the loss over the pixels of an image")


AnyNetwork = Annotated[SmallNetwork | PyramidNetwork | PfanNetwork | DssNetwork, Discriminator("name")]


class Form(Block):
    side: PositiveInt | None = Field(
        None, description="of the square that an image is padded to, pixels; null: as it is"
    )
    padding: Literal["black", "mean"] = Field(description="colour about the image; mean is 0 after normalisation")


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


class FolderSaliency(Block):
    detector: Literal["folder"]
    path: str = Field(description="folder of {id}.png, 8-bit, as large as the image")


class Detected(Block):
    crf: DenseCrf | None = Field(None, description="sharpens the maps")


class HandMadeSaliency(Detected):
    detector: Literal["hand_made"]
    methods: Annotated[
        tuple[
            Literal["border_contrast", "minimum_barrier", "robust_background", "spectral_residual", "fine_grained"], ...
        ],
        Field(min_length=1),
    ] = Field(description="one, or several whose mean is taken")
    side: PositiveInt = Field(description="long side of the image that they see, pixels")
    centred: bool = Field(description="shift Otsu's threshold of each map to half")


class RembgSaliency(Detected):
    detector: Literal["rembg"]
    model: Literal["u2net", "u2netp", "silueta", "isnet-general-use", "birefnet-general", "birefnet-general-lite"]
    models: str | None = Field(None, description="folder of {model}.onnx; null: rembg's own, to which it downloads")


class PublishedSaliency(Detected):
    detector: Literal["published"]
    network: AnyNetwork
    input: Form
    weights: Named = Field(description="of the whole network: a path, or {url, sha256}")

    @model_validator(mode="after")
    def _fits(self) -> "PublishedSaliency":
        _check_side(self.network, self.input)
        return self


class LearntSaliency(Detected):
    network: AnyNetwork
    input: Form
    initial: Named = Field(description="as of a classifier; random for network small")
    seed: NonNegativeInt
    recipe: SaliencyRecipe

    @model_validator(mode="after")
    def _fits(self) -> "LearntSaliency":
        _check_side(self.network, self.input)
        small = self.network.name == "small"
        if small and self.initial != "random":
            raise ValueError("network small has no initial weights, set initial: random")
        if small != (self.recipe.head_multiplier is None):
            raise ValueError("recipe.head_multiplier is for networks with initial weights, and all of them")
        return self


class NetworkSaliency(LearntSaliency):
    detector: Literal["network"]
    data: Data

    @model_validator(mode="after")
    def _squares(self) -> "NetworkSaliency":
        if self.input.side is None and isinstance(self.data, FolderData):
            raise ValueError("photographs of a folder differ in size, give input.side")
        return self


class DistilledSaliency(LearntSaliency):
    detector: Literal["distilled"]
    maps: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        description="saliency blocks whose mean is learned, on the training split"
    )
    binary: bool = Field(description="learn them cut at Otsu's threshold")


def _check_side(network: AnyNetwork, form: Form) -> None:
    if network.name == "pfan" and (form.side is None or form.side % 16):
        raise ValueError(f"network pfan takes squares of a multiple of 16 pixels, not input.side {form.side}")


Saliency = Annotated[
    FolderSaliency | HandMadeSaliency | RembgSaliency | PublishedSaliency | NetworkSaliency | DistilledSaliency,
    Discriminator("detector"),
]
