"""Types of the named blocks of the settings, one for each kind, with units and limits; values and sources stand in `library/`."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types.parts import (
    Block,
    DenseCrf,
    Name,
    Of,
    Sections,
)
from workflow_scripts.config.types.transformers import AttentionMaps

# Class activation maps


class Cam(Block):
    classifier: Annotated[Name, Of("classifiers")]
    scales: tuple[PositiveFloat, ...] = Field(description="test scales")
    side: PositiveInt | None = Field(
        None, description="pixels: the image is stretched to a square at scale 1; as it is if null"
    )
    flip: bool = Field(description="also the mirrored image, at every scale")
    square_root: bool = Field(
        description="of the maps at the network's resolution, before all else; for method cam, as PSA's code on VGG16"
    )
    merge: Literal["mean", "max"] = Field(
        description="over scales, mirrored copies and branches: mean of the maps, or maximum of maps divided by their maxima"
    )
    upsampling: Literal["bilinear", "bicubic"] = Field(description="of the network's maps to the image's size")
    resolution: PositiveInt = Field(description="image pixels per stored cell")
    align_corners: bool = Field(
        description="input sides become a multiple of the stride plus 1, cells and pixels line up"
    )
    normalise: Literal["min_max"] | None = Field(None, description="the sum of each class's maps, to [0, 1]")
    attention: AttentionMaps | None = Field(None, description="how it refines the maps of a network that has it")
    precision: Literal["float32", "bfloat16"]

    def check(self, where: str, sections: Sections) -> None:
        """Refuse what the classifier cannot give."""
        sections["classifiers"][self.classifier].check_maps(where, self)


class FolderCam(Block):
    """Maps that other code made."""

    rule: Literal["folder"]
    path: str = Field(
        description="folder of {id}.npy, {id}.npz, {id}.h5, {id}_{class}.png, {class}/{id}.png or {id}/{class}.png, or one HDF5 file"
    )
    classes: tuple[str, ...] | None = Field(
        None,
        description="names of the classes in the order in which the maps count them, from 0; may have others, and background; those of "
        "the data set if null",
    )
    background: bool = Field(False, description="also keep the map called background, for rule learnt")
    resolution: PositiveInt = Field(description="image pixels per stored cell")
    normalise: Literal["maximum", "min_max"] | None = Field(
        None,
        description="each map by its maximum, what is below 0 being 0; or from its minimum and maximum to [0, 1]; as it is if null",
    )
    stretched: bool = Field(
        False, description="the image was stretched to another shape for the maps; if not, such maps are refused"
    )
    missing: Literal["refuse", "zero"] = Field(
        "refuse", description="a map of a class that the image shows, or its file: an error, or zero everywhere"
    )

    @model_validator(mode="after")
    def _compared(self) -> "FolderCam":
        if self.background and self.normalise:
            raise ValueError("a background is compared with the other maps as they are: set normalise: null")
        return self


def _cam_tag(data: Any) -> str:
    return "folder" if "rule" in (data if isinstance(data, dict) else data.model_fields_set) else "network"


AnyCam = Annotated[Annotated[Cam, Tag("network")] | Annotated[FolderCam, Tag("folder")], Discriminator(_cam_tag)]

# Predictions


class NetworkPrediction(Block):
    scales: tuple[PositiveFloat, ...]
    flip: bool
    resize: Literal["antialiased", "bilinear", "bilinear_corners"] = Field(
        description="to a scale: the image, bicubic with antialiasing, sides rounded; or the normalised image, bilinear "
        "without, sides rounded down: by the scale itself (deeplab-pytorch), or from corner to corner (BANA, MCTformer code)"
    )
    merge: Literal["mean", "max", "mean_logits", "max_logits"] = Field(
        description="over scales and flips: of probabilities; mean of logits at the image's pixels; maximum of logits at "
        "the cells of the first scale"
    )
    resolution: PositiveInt = Field(description="image pixels per stored cell")
    align_corners: bool = Field(
        description="of the up-sampling of the logits; if antialiased, input sides also as of a cam"
    )
    precision: Literal["float32", "bfloat16"]


class CrfPrediction(Block):
    prediction: Annotated[Name, Of("predictions")] = Field(description="the prediction that is refined")
    crf: DenseCrf

    def check(self, where: str, sections: Sections) -> None:
        """Refuse a prediction to refine that is label maps itself."""
        if isinstance(sections["predictions"][self.prediction], CrfPrediction):
            raise UserError(f"{where}.prediction: {self.prediction!r} holds no soft scores, name one without crf")


def _prediction_tag(data: Any) -> str:
    return "crf" if "prediction" in (data if isinstance(data, dict) else data.model_fields_set) else "network"


Prediction = Annotated[
    Annotated[NetworkPrediction, Tag("network")] | Annotated[CrfPrediction, Tag("crf")], Discriminator(_prediction_tag)
]

# Systems


class Published(Block):
    dataset: Name
    split: Name
    stage: Literal["cam", "mask", "mask_labelled", "segmentation", "segmentation_crf"]
    prediction: Annotated[Name, Of("predictions")] | None = Field(
        None, description="the prediction it is of; any of that stage if null"
    )
    miou: Annotated[float, Field(ge=0, le=100)]
    source: str


class System(Block):
    """A named chain that ends at a cam, a mask or predictions."""

    cam: Annotated[Name, Of("cams")] | None = None
    mask: Annotated[Name, Of("masks")] | None = None
    segmenter: Annotated[Name, Of("segmenters")] | None = None
    predictions: tuple[Annotated[Name, Of("predictions")], ...] = ()
    published: tuple[Published, ...] = ()

    @model_validator(mode="after")
    def _chain(self) -> "System":
        if (self.cam is None) == (self.mask is None):
            raise ValueError("a system names a mask (its cam follows) or, to end there, a cam; add one")
        if self.segmenter and not self.mask:
            raise ValueError("a segmenter needs a mask; add one")
        if bool(self.segmenter) != bool(self.predictions):
            raise ValueError("segmenter and predictions go together; give both or neither")
        return self


# Tunings


class Tuning(Block):
    """A grid over numbers of blocks: a table of how a mask, or a prediction, scores on a held-out split; nothing is applied."""

    mask: Annotated[Name, Of("masks")] = Field(description="that is scored or, with a segmenter, that is learnt from")
    segmenter: Annotated[Name, Of("segmenters")] | None = None
    prediction: Annotated[Name, Of("predictions")] | None = Field(
        None, description="of the segmenter, that is scored instead of the mask"
    )
    vary: dict[str, tuple[Any, ...]] = Field(
        description="values by kind.block.key, a number in a list by its place: masks.eps_crf.crf.bilateral.0"
    )
    split: Name | None = Field(None, description="with truth, to score on; use.thresholds if null")
    allow_scored: bool = Field(False, description="the split may be one that results are reported on")

    @model_validator(mode="after")
    def _grid(self) -> "Tuning":
        if bool(self.segmenter) != bool(self.prediction):
            raise ValueError("segmenter and prediction go together")
        if not self.vary:
            raise ValueError("empty grid, vary at least one number")
        for key, values in self.vary.items():
            if not values:
                raise ValueError(f"vary.{key}: empty grid, list at least one value")
            if len({repr(value) for value in values}) < len(values):
                raise ValueError(f"vary.{key}: a value is listed twice")
        return self
