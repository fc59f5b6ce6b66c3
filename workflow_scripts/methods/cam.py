"""Class activation maps (Zhou et al., CVPR 2016): the localisation that an image classifier gives for free."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from workflow_scripts.config.types import classifiers
from workflow_scripts.config.types.parts import Block, Share


class CamOptions(Block):
    dropout: Share = Field(description="share of feature channels dropped before pooling")


class CamClassifier(classifiers.Classifier):
    method: Literal["cam"]
    options: CamOptions
    takes_roots: ClassVar[bool] = True


def class_activation_maps(features: Tensor, weight: Tensor, square_root: bool = False) -> Tensor:
    """Project features on the classifier's weights and keep the positive part: ReLU(sum_d w_cd f_d).

    Args:
        features: (B, D, h, w) last feature map, before global average pooling.
        weight: (C, D) weights of the linear classifier.
        square_root: of the positive part, as PSA's published code takes it on VGG16 (not on ResNet-38).

    Returns:
        (B, C, h, w), >= 0, not normalised.
    """
    maps = functional.conv2d(features, weight[:, :, None, None]).relu()
    return maps.sqrt() if square_root else maps


class Classifier(nn.Module):
    """Backbone, global average pooling and a linear classifier without bias, so that its weights also give the maps.

    Args:
        backbone: with `.channels`.
        classes: names of the C object classes.
        options: `dropout`, share of feature channels dropped before pooling (0.5 in the published baseline).
    """

    learns_background = False
    renames = ((r"fc8\.", "head."), (r"classifier\.", "head."))  # PSA, EPS code; IRN code
    unused = ("newly_added.",)  # IRN's code names its classifier twice

    def __init__(self, backbone: nn.Module, classes: Sequence[str], options):
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout2d(options.dropout)
        self.head = nn.Conv2d(backbone.channels, len(classes), 1, bias=False)
        nn.init.xavier_uniform_(self.head.weight)

    def new_parameters(self) -> list[nn.Parameter]:
        """Parameters without initial weights, trained at the head's rate."""
        return list(self.head.parameters())

    def class_logits(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C) logits of independent classes."""
        return self.head(self.dropout(self.backbone(images))).mean(dim=(2, 3))

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Named losses, to be summed; the batch holds `image` (B, 3, H, W) and `labels` (B, C) 0/1."""
        return {
            "classification": functional.multilabel_soft_margin_loss(
                self.class_logits(batch["image"]).float(), batch["labels"]
            )
        }

    def maps(self, images: Tensor, labels: Tensor, square_root: bool = False) -> tuple[Tensor, None]:
        """Class activation maps (B, C, h, w), >= 0, or their square roots; no background map."""
        return class_activation_maps(self.backbone(images), self.head.weight.flatten(1), square_root), None
