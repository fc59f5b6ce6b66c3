"""Types of the named blocks of `config.yaml`, one for each kind, with units and limits; values and sources stand in `config.yaml`."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, Tag, model_validator

from workflow_scripts.config.types.affinity_blocks import AnyAffinity
from workflow_scripts.config.types.box_blocks import CosineLoss
from workflow_scripts.config.types.initial import Initial, Network
from workflow_scripts.config.types.instance_blocks import AnyInstanceNetwork, AnyInstances, InstanceSystem
from workflow_scripts.config.types.mask_blocks import Mask
from workflow_scripts.config.types.paper_tables import Table
from workflow_scripts.config.types.parts import (
    Block,
    ClassifierRecipe,
    DenseCrf,
    Name,
    ScaledRecipe,
    SegmenterRecipe,
    Share,
)
from workflow_scripts.config.types.saliency_blocks import Saliency
from workflow_scripts.config.types.transformers import AreaRecipe, AttentionMaps, MctformerOptions, VisionTransformer

# Classifiers


class CamOptions(Block):
    dropout: Share = Field(description="share of feature channels dropped before pooling")


class EpsOptions(Block):
    selection: Literal["adaptive", "naive", "predefined", "none"] = Field(description="which maps count as background")
    overlap_threshold: float = Field(description="tau: a map that overlaps saliency by more is foreground")
    foreground_weight: Share = Field(
        description="lambda: weight of the foreground map, the background map has the rest"
    )
    saliency_weight: NonNegativeFloat = Field(description="weight of the saliency loss beside the classification loss")
    predefined_background: tuple[str, ...] = Field(description="classes on the background side under 'predefined'")


class SeeNetOptions(Block):
    hidden: PositiveInt = Field(description="channels of the 3x3 layers of a branch")
    layers: PositiveInt = Field(description="3x3 layers of a branch")
    dropout: Share = Field(description="share of a branch's last hidden activations dropped")
    initial_deviation: PositiveFloat | None = Field(
        None, description="of a branch's normal initial weights; if null, that of He et al. for its width"
    )
    high: Share = Field(description="attention of the first branch above which the second sees nothing")
    low: Share = Field(description="attention of the first branch below which is background")
    background: Literal["reversed", "zeroed"] = Field(description="what the second branch sees of the background")
    third_below: Share | None = Field(
        None,
        description="attention below which a third branch, which learns that there is nothing, sees; or no such branch",
    )
    shared: bool = Field(description="second and third branch have the same weights")
    reduction: Literal["mean", "sum"] = Field(description="of the cross-entropies over classes")


class BanaOptions(Block):
    pooling: Literal["attention", "mean"] = Field(description="of a box's features: background-aware, or all alike")
    grid_size: PositiveInt = Field(description="cells of the background's queries in either direction")
    roi_size: PositiveInt = Field(description="vectors of a box in either direction")
    align_corners: bool = Field(description="of the sampling of the boxes")
    minimum_background: Share = Field(description="of a crop, above which the attention is used")
    initial_deviation: PositiveFloat = Field(description="of the classifier's normal initial weights")


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


class CamClassifier(Classifier):
    method: Literal["cam"]
    options: CamOptions


class EpsClassifier(Classifier):
    method: Literal["eps"]
    options: EpsOptions
    saliency: Name
    learns_background: ClassVar[bool] = True

    def class_names(self) -> dict[str, tuple[str, ...]]:
        options = self.options
        named = options.predefined_background if options.selection == "predefined" else ()
        return {"options.predefined_background": named}


class SeeNetClassifier(Classifier):
    method: Literal["seenet"]
    options: SeeNetOptions


class BanaClassifier(Classifier):
    method: Literal["bana"]
    options: BanaOptions
    recipe: ScaledRecipe
    learns_from_boxes: ClassVar[bool] = True

    @model_validator(mode="after")
    def _whole_batches(self) -> "BanaClassifier":
        if self.recipe.accumulate > 1:
            raise ValueError("recipe.accumulate: the loss is a mean over the boxes of the whole batch; set 1")
        return self


def _recipe_tag(data: Any) -> str:
    return "area" if isinstance(data, AreaRecipe) or isinstance(data, dict) and "area" in data else "side"


class MctformerClassifier(Classifier):
    method: Literal["mctformer"]
    backbone: VisionTransformer
    options: MctformerOptions
    recipe: Annotated[
        Annotated[AreaRecipe, Tag("area")] | Annotated[ClassifierRecipe, Tag("side")], Discriminator(_recipe_tag)
    ]


AnyClassifier = Annotated[
    CamClassifier | EpsClassifier | SeeNetClassifier | BanaClassifier | MctformerClassifier, Discriminator("method")
]


# Class activation maps


class Cam(Block):
    classifier: Name
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
    attention: AttentionMaps | None = Field(None, description="how it refines the maps of method mctformer")
    precision: Literal["float32", "bfloat16"]


# Segmentation


class Segmenter(Network):
    initial: Initial = Field(description="as of a classifier, or {classifier: name} for that one's trained backbone")
    hidden: PositiveInt | None = Field(None, description="channels between backbone and scores; none if null")
    dropout: Share = Field(description="share of the hidden channels dropped")
    loss_at: Literal["labels", "logits"] = Field(
        description="logits are up-sampled to the labels, or labels sampled at the logits' cells"
    )
    align_corners: bool = Field(description="of the up-sampling of the logits to the labels in the loss")
    recipe: SegmenterRecipe


class LargeFov(Segmenter):
    network: Literal["large_fov"]
    dilation: PositiveInt = Field(description="of every 3x3 layer of the head, feature cells")
    score_kernel: Literal[1, 3] = Field(description="side of the scoring layer")


class Aspp(Segmenter):
    network: Literal["aspp"]
    dilations: tuple[PositiveInt, ...] = Field(description="of the parallel 3x3 layers, feature cells")
    image_scales: tuple[PositiveFloat, ...] = Field(description="at which training scores the image too, beside 1")


class Cosine(Network):
    network: Literal["cosine"]
    initial: Initial = Field(description="as of a classifier, or {classifier: name} for that one's trained backbone")
    hidden: PositiveInt | None = Field(None, description="channels of the parallel 3x3 layers; no such layers if null")
    dilations: tuple[PositiveInt, ...] = Field((), description="of the parallel 3x3 layers, feature cells")
    initial_deviation: PositiveFloat | None = Field(
        None, description="of these layers' normal initial weights; if null, that of He et al. for their width"
    )
    dropout: Share = Field(description="share of the hidden channels dropped")
    scale: PositiveFloat = Field(description="of the cosines in the softmax")
    align_corners: bool = Field(description="of the up-sampling of the cosines to the labels in the loss")
    loss: CosineLoss
    recipe: ScaledRecipe

    @model_validator(mode="after")
    def _context(self) -> "Cosine":
        if (self.hidden is None) != (not self.dilations):
            raise ValueError("hidden and dilations go together")
        if self.recipe.accumulate > 1 and self.loss.rule != "cross_entropy":
            raise ValueError("recipe.accumulate: losses on two label maps are means over the whole batch; set 1")
        return self


AnySegmenter = Annotated[LargeFov | Aspp | Cosine, Discriminator("network")]


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
    prediction: Name = Field(description="the prediction that is refined")
    crf: DenseCrf


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
    prediction: Name | None = Field(None, description="the prediction it is of; any of that stage if null")
    miou: Annotated[float, Field(ge=0, le=100)]
    source: str


class System(Block):
    """A named chain that ends at a cam, a mask or predictions."""

    cam: Name | None = None
    mask: Name | None = None
    segmenter: Name | None = None
    predictions: tuple[Name, ...] = ()
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

    mask: Name = Field(description="that is scored or, with a segmenter, that is learnt from")
    segmenter: Name | None = None
    prediction: Name | None = Field(None, description="of the segmenter, that is scored instead of the mask")
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


KINDS: dict[str, Any] = {
    "saliency": Saliency,
    "classifiers": AnyClassifier,
    "cams": Cam,
    "affinities": AnyAffinity,
    "masks": Mask,
    "segmenters": AnySegmenter,
    "predictions": Prediction,
    "systems": System,
    "tunings": Tuning,
    "instances": AnyInstances,
    "instance_networks": AnyInstanceNetwork,
    "instance_systems": InstanceSystem,
    "tables": Table,
}

# Fields that name a block of another kind.
REFERENCES = {
    "saliency": {"maps": "saliency"},
    "classifiers": {"saliency": "saliency"},
    "cams": {"classifier": "classifiers"},
    "affinities": {"cam": "cams"},
    "masks": {
        "cam": "cams",
        "saliency": "saliency",
        "affinity": "affinities",
        "classifier": "classifiers",
        "mask": "masks",
        "otherwise": "masks",
    },
    "predictions": {"prediction": "predictions"},
    "systems": {"cam": "cams", "mask": "masks", "segmenter": "segmenters", "predictions": "predictions"},
    "tunings": {"mask": "masks", "segmenter": "segmenters", "prediction": "predictions"},
    "instances": {"mask": "masks"},
    "instance_systems": {"instances": "instances", "network": "instance_networks"},
}
