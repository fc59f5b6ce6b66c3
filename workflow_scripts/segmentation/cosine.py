"""BANA's segmentation networks (Oh et al., CVPR 2021): DeepLab with a cosine classifier, trained on one or two label maps."""

from typing import Annotated, Literal

import torch
from pydantic import Discriminator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize, relu

from workflow_scripts.base.plugins import plugin
from workflow_scripts.config.types import segmenters
from workflow_scripts.config.types.parts import Block, ScaledRecipe, Share
from workflow_scripts.segmentation.losses import label_loss


class CrossEntropy(Block):
    rule: Literal["cross_entropy"]


class NoiseAware(Block):
    rule: Literal["noise_aware"]
    gamma: PositiveFloat = Field(description="power of the confidence of labels where the two maps differ")
    balance: NonNegativeFloat = Field(description="lambda: weight of the loss where the two maps differ")


class EntropyRegularised(Block):
    rule: Literal["entropy"]
    balance: NonNegativeFloat = Field(description="weight of the prediction's entropy where the two maps differ")


class Bootstrapped(Block):
    rule: Literal["bootstrap"]
    balance: NonNegativeFloat = Field(description="weight of the loss where the two maps differ")
    beta: Share = Field(description="share of the label in the target there; the prediction's arg-max has the rest")


CosineLoss = Annotated[CrossEntropy | NoiseAware | EntropyRegularised | Bootstrapped, Discriminator("rule")]


class Cosine(segmenters.Segmenter):
    network: Literal["cosine"]
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

    def also_runs(self) -> tuple[str, ...]:
        losses = ("methods.bana",) if self.loss.rule != "cross_entropy" else ()
        return (*super().also_runs(), *losses)

    def weighs_labels(self) -> bool:
        return self.loss.rule == "noise_aware"


class Segmenter(nn.Module):
    """Backbone, parallel dilated 3x3 layers, summed, and the cosine of features and class weights.

    Args:
        backbone: with `.channels`.
        num_labels: object classes and background.
        options: `hidden` channels of the 3x3 layers, or null for none (VGG16, whose fc7 is the backbone's); `dilations`
            of these layers, feature cells; `dropout` after them; `initial_deviation` of their normal initial weights, or
            null for that of He et al.; `scale` of the cosines in the softmax; `align_corners` of the up-sampling in the
            loss; `loss` with `rule` "cross_entropy", on one label map, or "noise_aware", "entropy" or "bootstrap", on two.
    """

    renames = (
        *((rf"c{number}\.", f"context.{number - 1}.") for number in range(1, 5)),  # BANA code
        (r"classifier\.", "head."),
    )

    def __init__(self, backbone: nn.Module, num_labels: int, options):
        super().__init__()
        self.backbone, self.options = backbone, options
        channels, self.context = backbone.channels, nn.ModuleList()
        if options.hidden:
            for dilation in options.dilations:
                self.context.append(
                    nn.Conv2d(channels, options.hidden, 3, padding=dilation, dilation=dilation, bias=False)
                )
            channels = options.hidden
        self.dropout = nn.Dropout2d(options.dropout)
        self.head = nn.Conv2d(channels, num_labels, 1, bias=False)
        nn.init.normal_(self.head.weight, std=0.01)
        for layer in self.context:
            if options.initial_deviation is None:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=options.initial_deviation)

    @property
    def label_maps(self) -> tuple[str, ...]:
        """The label maps that the loss compares, by their names in an artifact of masks."""
        return ("label",) if self.options.loss.rule == "cross_entropy" else ("label", "label_retrieved")

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters without initial weights, trained at the head's rate."""
        return [*self.context.parameters(), *self.head.parameters()]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, L, h, w): cosines times `scale`."""
        return self.options.scale * self.cosines(images)

    def cosines(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> cosines of features and class weights, (B, L, h, w) in [-1, 1]."""
        features = self.backbone(images)
        if self.context:
            features = self.dropout(relu(sum(layer(features) for layer in self.context)))
        where = "cpu" if features.is_meta else features.device.type  # the estimates count operations on no device
        with torch.autocast(where, enabled=False):  # a small angle is lost in half precision
            weight = normalize(self.head.weight.float(), dim=1)
            return nn.functional.conv2d(normalize(features.float(), dim=1), weight)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The block's loss; the batch holds `image` (B, 3, H, W) and `label_maps`, int64 (B, H, W), 255 ignored."""
        cosines, options, loss = self.cosines(batch["image"]), self.options, self.options.loss
        label = batch["label"]
        if loss.rule == "cross_entropy":
            logits, whole = options.scale * cosines, batch.get("whole_label")
            entropy = label_loss(logits, label, "labels", options.align_corners, whole)
            return {"cross_entropy": entropy}
        cosines = interpolate(cosines, size=label.shape[-2:], mode="bilinear", align_corners=options.align_corners)
        maps = (cosines, label, batch["label_retrieved"], options.scale)
        bana = plugin("methods", "bana")
        if loss.rule == "noise_aware":
            return {"noise_aware": bana.noise_aware_loss(*maps, loss.gamma, loss.balance)}
        if loss.rule == "entropy":
            return {"entropy_regularised": bana.entropy_regularised_loss(*maps, loss.balance)}
        return {"bootstrapped": bana.bootstrapped_loss(*maps, loss.balance, loss.beta)}
