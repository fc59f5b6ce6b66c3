"""Multi-class token transformer, MCTformer (Xu et al., CVPR 2022): attention from a token for each class localises it.

V1 classifies by its class tokens and localises by their attention. V2 also has class maps on the patch tokens, which
class attention sharpens; attention between patches then carries the product to where the image is alike.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Discriminator, Field, Tag
from torch import Tensor, nn
from torch.nn.functional import multilabel_soft_margin_loss

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.config.types import classifiers
from workflow_scripts.config.types.parts import Block, ClassifierRecipe
from workflow_scripts.config.types.transformers import AnyTransformer, AreaRecipe


class MctformerOptions(Block):
    version: Literal["v1", "v2"] = Field(description="class tokens alone, or with class maps on the patch tokens")


def _recipe_tag(data: Any) -> str:
    return "area" if isinstance(data, AreaRecipe) or isinstance(data, dict) and "area" in data else "side"


class MctformerClassifier(classifiers.Classifier):
    method: Literal["mctformer"]
    backbone: AnyTransformer  # type: ignore[assignment]
    options: MctformerOptions
    recipe: Annotated[  # type: ignore[assignment]
        Annotated[AreaRecipe, Tag("area")] | Annotated[ClassifierRecipe, Tag("side")], Discriminator(_recipe_tag)
    ]
    has_attention: ClassVar[bool] = True

    def check_maps(self, where: str, cam: Any) -> None:
        """Refuse layers that are not there, and maps or modulation that the version or the choice of attention lacks."""
        super().check_maps(where, cam)
        attention = cam.attention
        if cam.align_corners:
            raise UserError(
                f"{where}.align_corners: patches lie side by side, none has its centre on a border; set false"
            )
        for key in ("class_layers", "patch_layers"):
            if getattr(attention, key) > self.backbone.depth:
                raise UserError(
                    f"{where}.attention.{key}: the network has {self.backbone.depth} layers, "
                    f"found {getattr(attention, key)}"
                )
        if not attention.class_to_patch and self.options.version == "v1":
            raise UserError(f"{where}.attention.class_to_patch: version v1 has no other maps; set true")
        if not attention.class_to_patch and attention.modulation:
            raise UserError(f"{where}.attention.modulation: changes only what class_to_patch: true uses; take it away")

    def map_modules(self, cam: Any) -> tuple[str, ...]:
        return ("methods.semantic_modulation",) if cam.attention.modulation else ()


def class_to_patch(attention: Tensor, num_classes: int, layers: int = 3) -> Tensor:
    """Attention of the class tokens to the patches, summed over the last layers.

    Args:
        attention: (L, B, T, T) after the softmax, mean over heads; row = query, the C class tokens first.
        num_classes: C.
        layers: how many of the last. Published: 3.

    Returns:
        (B, C, N), N = T - C.
    """
    return attention[-layers:, :, :num_classes, num_classes:].sum(dim=0)


def patch_to_patch(attention: Tensor, num_classes: int, layers: int | None = None) -> Tensor:
    """Attention of the patches to each other, summed over the last `layers`, all if None as published.

    Args:
        attention: as of `class_to_patch`.

    Returns:
        (B, N, N), row = query; rows do not sum to 1, as patches also attend to class tokens.
    """
    return attention[-(layers or len(attention)) :, :, num_classes:, num_classes:].sum(dim=0)


def refine_maps(maps: Tensor, patch_attention: Tensor) -> Tensor:
    """Every patch takes the maps of the patches it attends to: M'_c(i) = sum_j A(i, j) M_c(j).

    Args:
        maps: (B, C, N).
        patch_attention: (B, N, N), row = query, as the published code has it; S4's Eq. 6 has its transpose.

    Returns:
        (B, C, N).
    """
    return maps @ patch_attention.transpose(-2, -1)


class Classifier(nn.Module):
    """Transformer with a token for each class; with V2 a 3x3 layer for class maps on the patch tokens.

    Args:
        backbone: a vision transformer.
        classes: names of the C object classes.
        options: `version`, "v1" or "v2".
    """

    learns_background = False

    def __init__(self, backbone: nn.Module, classes: Sequence[str], options):
        super().__init__()
        backbone.set_classes(len(classes))
        self.backbone = backbone
        self.head = nn.Conv2d(backbone.channels, len(classes), 3, padding=1) if options.version == "v2" else None
        self.unused = ("norm.",) if options.version == "v2" else ("norm.", "head.")  # of the published checkpoints

    def own_layout(self, state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
        """As the backbone's; V2's weights are refused by V1, which would take the layer of their maps for its linear head."""
        if self.head is None and any(name.endswith("head.weight") and value.ndim == 4 for name, value in state.items()):
            raise UserError(f"{source}: head.weight is of MCTformer-V2; set options.version: v2")
        return self.backbone.own_layout(state, source)

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters without initial weights, trained at the head's rate."""
        return [] if self.head is None else list(self.head.parameters())

    def undecayed_parameters(self) -> list[nn.Parameter]:
        return self.backbone.undecayed_parameters()

    def class_logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C) logits of independent classes: the mean of each class token."""
        return self.backbone(images).classes.mean(dim=2)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """A loss for class tokens and, with V2, one for patch maps, to be summed; the batch holds `image` and `labels` 0/1."""
        tokens, labels = self.backbone(batch["image"]), batch["labels"]
        losses = {"class_tokens": multilabel_soft_margin_loss(tokens.classes.float().mean(dim=2), labels)}
        if self.head is not None:
            logits = self.head(tokens.patches).float().mean(dim=(2, 3))
            losses["patch_tokens"] = multilabel_soft_margin_loss(logits, labels)
        return losses

    def maps(self, images: Tensor, labels: Tensor, attention) -> tuple[Tensor, None]:
        """Class maps (B, C, h, w), >= 0; no background map.

        Args:
            attention: `class_to_patch` and `patch_to_patch`, whether each refines the maps; `class_layers`,
                `patch_layers`, how many of the last are summed; `orientation`, whether a patch takes what it attends to
                ("query") or what attends to it ("key"); `modulation`, how the attention of classes to patches is
                changed by that between patches, or None.
        """
        tokens = self.backbone(images, attention=True)
        count, size = tokens.classes.shape[1], tokens.patches.shape[-2:]
        patch_maps = None if self.head is None else self.head(tokens.patches).float().relu().flatten(2)
        with torch.autocast(images.device.type, enabled=False):
            between = patch_to_patch(tokens.attention, count, attention.patch_layers)
            maps = patch_maps
            if attention.class_to_patch:
                of_classes = class_to_patch(tokens.attention, count, attention.class_layers)
                if attention.modulation:
                    modulate = plugin("methods", "semantic_modulation").modulate
                    of_classes = modulate(of_classes, between, **vars(attention.modulation))
                maps = of_classes if patch_maps is None else of_classes * patch_maps
            elif maps is None:
                raise UserError("config: MCTformer-V1 has no patch maps, its cams need attention.class_to_patch: true")
            if attention.patch_to_patch:
                along = between if attention.orientation == "query" else between.transpose(-2, -1)
                maps = refine_maps(maps, along)
        return maps.unflatten(2, size), None
