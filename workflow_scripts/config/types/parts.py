"""Parts of the settings that several of its blocks share, with units and limits: names, backbones, recipes, the dense CRF."""

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

Orientation = Literal["shown", "stored"]
ORIENTATION: Any = Field(
    "shown",
    description="shown: the EXIF orientation of photographs is applied, as viewers and annotation tools do; stored: it is not, as "
    "annotations are on the pixels as they are stored",
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_]*")


def nearest(name: str, known) -> str:
    """'did you mean 'x'?' for the nearest known name, or the list of known names, and what to do."""
    match = difflib.get_close_matches(str(name), [str(item) for item in known], n=1, cutoff=0.5)
    if match:
        return f"did you mean {match[0]!r}? correct it"
    return f"known: {', '.join(map(str, sorted(known)))}; name one of these" if known else "none is given; add it"


def _name(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text, as YAML reads it; put the name in quotes")
    if not NAME.fullmatch(value):
        raise ValueError(f"{value!r} is no name: letters, digits and _ only, as it becomes a file name")
    return value


Name = Annotated[str, BeforeValidator(_name)]
Share = Annotated[float, Field(ge=0, le=1)]


class Block(BaseModel):
    """A part of the configuration; unknown keys are refused with the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}, {nearest(key, cls.model_fields)}")
        return data

    def also_runs(self) -> tuple[str, ...]:
        """Modules that its own job runs beside that of its class and those of its networks."""
        return ()

    def packages(self) -> Mapping[str, str]:
        """Packages that its jobs import and not every installation has, and how each is installed: pip install timm."""
        return {}

    def needed_files(self) -> tuple["File", ...]:
        """Files that its jobs read and no job makes, beside those that its keys name."""
        return ()

    def check(self, where: str, sections: "Sections") -> None:
        """Refuse what does not go with the blocks that this one names; that they are there is known.

        Args:
            where: of the block, `config: masks.eps`.
            sections: all blocks that a data set sees, by section and name.

        Raises:
            UserError: what does not fit, by the key, and a way out.
        """


@dataclass(frozen=True)
class File:
    """A file, or a folder, that jobs read and none makes.

    Attributes:
        what: for people: saliency model.
        path: where it is, or comes to.
        source: where it is to be had.
        size: as people write it, 98 MB.
        checksum: of it, or its begin: sha256:0676ba61.
        is_fetched: the job downloads it itself where it is not there.
    """

    what: str
    path: str
    source: str = ""
    size: str = ""
    checksum: str = ""
    is_fetched: bool = False


Sections = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Of:
    """Of a name: the section that holds the block which it names."""

    section: str


@dataclass(frozen=True)
class AnyOf:
    """Of a block: that it is of any class of a family. `config.families` knows which there are."""

    family: str
    union: ClassVar[Callable[[str], Any]]

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return handler.generate_schema(type(self).union(self.family))


class Held(NamedTuple):
    """What a training holds of a network: not less than is counted on the network itself, and at most 1.6 times that.

    Attributes:
        parameters: millions.
        kept: bytes for each pixel of an image that a step in float32 keeps for its backward pass.
    """

    parameters: float
    kept: float


class Backbone(Block):
    stride: Literal[8, 16, 32] = Field(description="pixels per feature cell; last stages are dilated to reach it")
    batch_norm: Literal["frozen", "trained"] = Field(
        description="frozen: initial statistics and affine values are kept"
    )
    frozen_stages: NonNegativeInt = Field(description="first layers of the network that are not trained")

    def held(self, crop: int) -> Held | None:
        """What a training on crops of this side holds; None where planning cannot know."""
        return None

    def imagenet(self) -> File | None:
        """The file of `initial: imagenet`; None where it is torchvision's, or there is none."""
        return None

    def of_stages(self, parameters: float, *stages: tuple[float, int]) -> Held:
        """What a network of stages, as `frozen_stages` counts them, holds.

        Args:
            parameters: millions.
            stages: bytes for each pixel that a stage keeps if its stride is 8 or less, and its stride without dilation.
        """
        strides = (max(8, min(self.stride, own)) for _, own in stages)
        kept = [value * (8 / stride) ** 2 for (value, _), stride in zip(stages, strides, strict=True)]
        return Held(parameters, sum(kept[self.frozen_stages :]))


AnyBackbone = Annotated[Backbone, AnyOf("backbones")]


class Jitter(Block):
    """Colour jitter: factor drawn from [1 - x, 1 + x]; hue shift from [-x, x] turns."""

    brightness: NonNegativeFloat
    contrast: NonNegativeFloat
    saturation: NonNegativeFloat
    hue: Annotated[float, Field(ge=0, le=0.5)]


class CosineDecay(Block):
    """Half a cosine from the initial rate to a final one, after the rise of `warm_up`."""

    first_rate: PositiveFloat = Field(description="from which the warm-up rises; of the backbone's weights")
    last_rate: PositiveFloat = Field(description="that the cosine ends at; of the backbone's weights")
    every: PositiveInt = Field(description="steps between updates of the rate")
    lag: NonNegativeInt = Field(description="steps that the rate is behind, in which it stays at its first")


class Schedule(Block):
    iterations: PositiveInt = Field(description="optimiser steps")
    batch: PositiveInt = Field(description="images per step")
    accumulate: PositiveInt = Field(description="equal parts of the batch, worked on one after another to save memory")
    optimiser: Literal["sgd", "adamw"]
    learning_rate: PositiveFloat = Field(description="initial rate of the backbone's weights")
    bias_multiplier: PositiveFloat = Field(
        description="rate of biases, times that of the weights; biases have no decay"
    )
    momentum: Share = Field(description="SGD momentum, or AdamW beta 1")
    weight_decay: NonNegativeFloat
    warm_up: NonNegativeInt = Field(description="steps over which the rate rises to its initial value")
    poly_power: NonNegativeFloat = Field(description="exponent of the polynomial decay to zero; 0 keeps the rate")
    poly_every: PositiveInt = Field(description="steps between updates of the rate")
    drop_at: tuple[PositiveInt, ...] = Field(
        (), description="steps from which on the rate is multiplied by drop_factor"
    )
    drop_factor: PositiveFloat | None = Field(None, description="of the rate at every step of drop_at")
    cosine: CosineDecay | None = Field(None, description="decay by a cosine instead of the polynomial")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        description="of the forward pass; weights stay float32; float16 on a GPU alone"
    )
    compile: bool = Field(description="fuse the network's operations by torch.compile; needs a C++ compiler")
    save_every: PositiveInt = Field(
        exclude=True, description="steps between saved states, from which a killed job resumes; makes nothing stale"
    )

    @model_validator(mode="after")
    def _drops(self) -> "Schedule":
        if bool(self.drop_at) != (self.drop_factor is not None):
            raise ValueError("drop_at and drop_factor go together")
        if self.cosine and self.poly_power:
            raise ValueError("cosine and polynomial decay do not go together: set poly_power to 0 or cosine to null")
        return self

    @model_validator(mode="after")
    def _equal_parts(self) -> "Schedule":
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch {self.batch} into equal parts")
        return self


class Recipe(Schedule):
    crop: PositiveInt = Field(description="side of the square training crop, pixels")
    head_multiplier: PositiveFloat = Field(description="rate of new layers, times learning_rate")
    augment: Literal["worker", "device"] = Field(
        description="where colours are jittered and normalised: by Pillow as images are loaded, or on the device"
    )


class ClassifierRecipe(Recipe):
    long_side: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="range of the resized image's long side, pixels; or, instead,"
    )
    short_side: tuple[PositiveInt, PositiveInt] | None = Field(None, description="range of its short side, pixels")
    jitter: Jitter

    @model_validator(mode="after")
    def _one_side(self) -> "ClassifierRecipe":
        if (self.long_side is None) == (self.short_side is None):
            raise ValueError("a recipe resizes by long_side or by short_side, one of them")
        return self


class ScaledRecipe(Recipe):
    scale: tuple[PositiveFloat, PositiveFloat] = Field(description="range of the scale factor, one drawn per image")
    jitter: Jitter


class SegmenterRecipe(Recipe):
    scales: tuple[PositiveFloat, ...] = Field(description="scale factors, one drawn per image")


class DenseCrf(Block):
    bilateral: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        description="spatial sd (pixels), colour sd (0-255), weight"
    )
    gaussian: tuple[PositiveFloat, PositiveFloat] = Field(description="spatial sd (pixels), weight")
    iterations: PositiveInt = Field(description="mean-field steps")
