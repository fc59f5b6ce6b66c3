"""Explicit pseudo-pixel supervision, EPS (Lee et al., CVPR 2021): saliency teaches a classifier the object's extent.

The classifier has one more channel, the background, which comes last. Its maps are joined into an estimate of the
saliency map, and the estimate is regressed on the saliency of an off-the-shelf detector.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.config.types import classifiers
from workflow_scripts.config.types.parts import Block, Name, Of, Share


class EpsOptions(Block):
    selection: Literal["adaptive", "naive", "predefined", "none"] = Field(description="which maps count as background")
    overlap_threshold: float = Field(description="tau: a map that overlaps saliency by more is foreground")
    foreground_weight: Share = Field(
        description="lambda: weight of the foreground map, the background map has the rest"
    )
    saliency_weight: NonNegativeFloat = Field(description="weight of the saliency loss beside the classification loss")
    predefined_background: tuple[str, ...] = Field(description="classes on the background side under 'predefined'")


class EpsClassifier(classifiers.Classifier):
    method: Literal["eps"]
    options: EpsOptions
    saliency: Annotated[Name, Of("saliency")]
    learns_background: ClassVar[bool] = True
    estimates_saliency: ClassVar[bool] = True

    def class_names(self) -> dict[str, tuple[str, ...]]:
        options = self.options
        named = options.predefined_background if options.selection == "predefined" else ()
        return {"options.predefined_background": named}


SELECTIONS = ("adaptive", "naive", "predefined", "none")


def saliency_loss(
    logits: Tensor,
    saliency: Tensor,
    labels: Tensor,
    overlap_threshold: float = 0.4,
    foreground_weight: float = 0.5,
    selection: str = "adaptive",
    predefined_background: Sequence[int] = (),
) -> Tensor:
    """Mean squared error between the saliency estimated from the class maps and the given one (EPS, Eqs. 1 to 3).

    The estimate is w M_fg + (1 - w) (1 - M_bg), w = `foreground_weight`. The softmax runs over all channels, so that
    absent classes are pushed down as well. Only the selection of maps is without gradient. The target is the soft
    saliency, sampled to (h, w) with nearest neighbour as in the published code: averaging would change the loss.

    Args:
        logits: (B, C + 1, h, w), background last.
        saliency: (B, 1, H, W) in [0, 1].
        labels: (B, C) 0/1.
        overlap_threshold: a present class is foreground if its overlap with the saliency is above this ("adaptive").
            Published: 0.4.
        foreground_weight: w in [0, 1]. Published: 0.5 for VOC; 0.9 for COCO in the released script.
        selection: how maps are assigned, see `select_maps`.
        predefined_background: 0-based ids of the classes that "predefined" assigns to the background.

    Returns:
        Scalar, >= 0.

    Raises:
        ValueError: unknown `selection`.
    """
    probabilities = logits.softmax(dim=1)
    saliency = functional.interpolate(saliency, size=logits.shape[-2:], mode="nearest").to(probabilities.dtype)
    estimate = estimated_saliency(
        probabilities, saliency, labels, overlap_threshold, foreground_weight, selection, predefined_background
    )
    return functional.mse_loss(estimate, saliency)


def estimated_saliency(
    probabilities: Tensor,
    saliency: Tensor,
    labels: Tensor,
    overlap_threshold: float = 0.4,
    foreground_weight: float = 0.5,
    selection: str = "adaptive",
    predefined_background: Sequence[int] = (),
) -> Tensor:
    """The saliency map that the class maps amount to, w M_fg + (1 - w) (1 - M_bg) (EPS, Eq. 1 and Fig. 3).

    Args:
        probabilities: (B, C + 1, h, w), background last, summing to 1 over channels.
        saliency: (B, 1, h, w) in [0, 1], the detector's; it decides which maps are foreground.
        labels: (B, C) 0/1.
        overlap_threshold: as of `saliency_loss`, as what follows.
        foreground_weight: w in [0, 1].
        selection: how maps are assigned.
        predefined_background: 0-based ids of classes.

    Returns:
        (B, 1, h, w) in [0, 1].

    Raises:
        ValueError: unknown `selection`.
    """
    overlap = saliency_overlap(probabilities[:, :-1], saliency)
    foreground, background = select_maps(overlap, labels, overlap_threshold, selection, predefined_background)
    foreground_map, background_map = join_maps(probabilities, foreground, background)
    return foreground_weight * foreground_map + (1 - foreground_weight) * (1 - background_map)


def saliency_overlap(probabilities: Tensor, saliency: Tensor) -> Tensor:
    """Share of each class's region that is salient, both binarised at 0.5 (exactly 0.5 is outside).

    The published code adds 1e-4 to the region at every pixel, so a class without a region has overlap 0 and counts
    as background for every threshold >= 0.

    Args:
        probabilities: (B, C, h, w) in [0, 1], object classes only.
        saliency: (B, 1, h, w) in [0, 1].

    Returns:
        (B, C) in [0, 1), detached.
    """
    region = (probabilities.detach() > 0.5).to(probabilities.dtype)
    salient = (saliency > 0.5).to(probabilities.dtype)
    return (region * salient).sum(dim=(2, 3)) / (region + 1e-4).sum(dim=(2, 3))


def select_maps(
    overlap: Tensor, labels: Tensor, overlap_threshold: float, selection: str, predefined_background: Sequence[int] = ()
) -> tuple[Tensor, Tensor]:
    """Assign the class maps of every image to the foreground or the background (EPS, Eq. 2 and Table 3).

    "adaptive": present classes, foreground where the overlap is above the threshold, otherwise background.
    "naive": all present classes are foreground.
    "predefined": as naive, but the present classes of `predefined_background` are background.
    "none": all classes, present or not, are foreground. The estimate is then 1 - P_background for every weight.

    Args:
        overlap: (B, C).
        labels: (B, C) 0/1.
        overlap_threshold: used by "adaptive".
        selection: one of the four names.
        predefined_background: 0-based class ids, used by "predefined".

    Returns:
        foreground and background, each (B, C) 0/1 in the dtype of `overlap`.
    """
    present = labels.to(overlap.dtype)
    if selection == "adaptive":
        is_foreground = (overlap > overlap_threshold).to(overlap.dtype)
    elif selection in ("naive", "none"):
        is_foreground = torch.ones_like(present)
    elif selection == "predefined":
        is_foreground = torch.ones_like(present)
        is_foreground[:, list(predefined_background)] = 0
    else:
        raise ValueError(f"unknown selection {selection!r}, expected one of {', '.join(SELECTIONS)}")
    gate = torch.ones_like(present) if selection == "none" else present
    return gate * is_foreground, gate * (1 - is_foreground)


def join_maps(probabilities: Tensor, foreground: Tensor, background: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the selected class maps; the background channel always joins the background (EPS, Eq. 2).

    Args:
        probabilities: (B, C + 1, h, w), background last, summing to 1 over channels.
        foreground: (B, C) 0/1.
        background: (B, C) 0/1, nowhere 1 together with `foreground`.

    Returns:
        M_fg and M_bg, each (B, 1, h, w) in [0, 1].
    """
    objects, background_channel = probabilities[:, :-1], probabilities[:, -1:]
    foreground_map = (objects * foreground[:, :, None, None]).sum(dim=1, keepdim=True)
    background_map = (objects * background[:, :, None, None]).sum(dim=1, keepdim=True) + background_channel
    return foreground_map, background_map


class Classifier(nn.Module):
    """Backbone and a (C + 1)-way 1x1 convolution without bias, background last, no dropout (as published).

    Args:
        backbone: with `.channels`.
        classes: names of the C object classes.
        options: the arguments of `saliency_loss` and `saliency_weight`, its weight beside the classification loss.
            `predefined_background` holds names; those that are no class here do not count.
    """

    learns_background = True
    renames = ((r"fc8\.", "head."),)  # EPS code, the background last there too

    def __init__(self, backbone: nn.Module, classes: Sequence[str], options):
        super().__init__()
        self.backbone = backbone
        self.options = options
        self.predefined = [classes.index(name) for name in options.predefined_background if name in classes]
        self.head = nn.Conv2d(backbone.channels, len(classes) + 1, 1, bias=False)
        nn.init.xavier_uniform_(self.head.weight)

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters without initial weights, trained at the head's rate."""
        return list(self.head.parameters())

    def class_logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C) logits of independent classes."""
        return self.head(self.backbone(images)).mean(dim=(2, 3))[:, :-1]

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named losses, to be summed; the batch holds `image`, `labels` (B, C) 0/1 and `saliency` (B, 1, H, W)."""
        logits = self.head(self.backbone(batch["image"])).float()
        classification = functional.multilabel_soft_margin_loss(logits.mean(dim=(2, 3))[:, :-1], batch["labels"])
        saliency = saliency_loss(
            logits,
            batch["saliency"],
            batch["labels"],
            self.options.overlap_threshold,
            self.options.foreground_weight,
            self.options.selection,
            self.predefined,
        )
        return {"classification": classification, "saliency": self.options.saliency_weight * saliency}

    def maps(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Class probabilities (B, C, h, w) and the learnt background's (B, h, w): softmax before any up-sampling."""
        probabilities = self.head(self.backbone(images)).float().softmax(dim=1)
        return probabilities[:, :-1], probabilities[:, -1]
