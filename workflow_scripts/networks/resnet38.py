"""ResNet38, model A1 of Wu et al. (Pattern Recognition 2019): the wide pre-activation network of PSA, EPS and SEAM.

Layers bear the names of the published PyTorch checkpoints (PSA, EPS, SEAM, MCTformer's segmentation), so that these load as
they are.
"""

import re
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types import parts
from workflow_scripts.networks.backbone import FeaturePyramid


class Resnet38(parts.Backbone):
    name: Literal["resnet38"]

    def held(self, crop: int) -> parts.Held:
        return self.of_stages(107, (260, 1), (1700, 2), (860, 4), (840, 8), (580, 8), (510, 8), (1280, 8))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, dilation * (kernel // 2), dilation, bias=False)


class Residual(nn.Module):
    """Two 3x3 convolutions, each after batch normalisation and ReLU.

    Where the shape changes, the shortcut is a 1x1 convolution of the activated input.
    """

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int = 1, dilations: tuple[int, int] = (1, 1)):
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(inputs)
        self.conv_branch2a = _convolution(inputs, middle, 3, stride, dilations[0])
        self.bn_branch2b1 = nn.BatchNorm2d(middle)
        self.conv_branch2b1 = _convolution(middle, outputs, 3, dilation=dilations[1])
        if inputs != outputs or stride != 1:
            self.conv_branch1 = _convolution(inputs, outputs, 1, stride)

    def activated(self, features: Tensor) -> Tensor:
        return relu(self.bn_branch2a(features))

    def forward(self, features: Tensor) -> Tensor:
        activated = self.activated(features)
        shortcut = self.conv_branch1(activated) if hasattr(self, "conv_branch1") else features
        return shortcut + self.conv_branch2b1(relu(self.bn_branch2b1(self.conv_branch2a(activated))))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, dropout before the last two; the shortcut is always projected."""

    def __init__(self, inputs: int, outputs: int, dilation: int, dropout: float):
        super().__init__()
        self.bn_branch2a = nn.BatchNorm2d(inputs)
        self.conv_branch2a = _convolution(inputs, outputs // 4, 1)
        self.bn_branch2b1 = nn.BatchNorm2d(outputs // 4)
        self.dropout_2b1 = nn.Dropout2d(dropout)
        self.conv_branch2b1 = _convolution(outputs // 4, outputs // 2, 3, dilation=dilation)
        self.bn_branch2b2 = nn.BatchNorm2d(outputs // 2)
        self.dropout_2b2 = nn.Dropout2d(dropout)
        self.conv_branch2b2 = _convolution(outputs // 2, outputs, 1)
        self.conv_branch1 = _convolution(inputs, outputs, 1)

    def activated(self, features: Tensor) -> Tensor:
        return relu(self.bn_branch2a(features))

    def forward(self, features: Tensor) -> Tensor:
        activated = self.activated(features)
        branch = relu(self.bn_branch2b1(self.conv_branch2a(activated)))
        branch = relu(self.bn_branch2b2(self.conv_branch2b1(self.dropout_2b1(branch))))
        return self.conv_branch1(activated) + self.conv_branch2b2(self.dropout_2b2(branch))


class Backbone(FeaturePyramid):
    """(B, 3, H, W) -> (B, 4096, H/8, W/8). Stages, for `frozen_stages`: conv1a, b2, b3, b4, b5, b6, b7."""

    channels = 4096
    ignored = ("linear1000.", "fc8", "f8_", "f9.")  # heads of classifiers, segmentation and affinity networks

    def __init__(self, stride: int = 8, batch_norm: str = "frozen", frozen_stages: int = 0):
        super().__init__()
        if stride != 8:
            raise UserError(f"config: backbone resnet38 has stride 8, not {stride}")
        self.stride = stride
        self.conv1a = _convolution(3, 64, 3)
        self.b2, self.b2_1, self.b2_2 = Residual(64, 128, 128, 2), *(Residual(128, 128, 128) for _ in range(2))
        self.b3, self.b3_1, self.b3_2 = Residual(128, 256, 256, 2), *(Residual(256, 256, 256) for _ in range(2))
        self.b4 = Residual(256, 512, 512, 2)
        self.b4_1, self.b4_2, self.b4_3, self.b4_4, self.b4_5 = (Residual(512, 512, 512) for _ in range(5))
        self.b5 = Residual(512, 512, 1024, dilations=(1, 2))
        self.b5_1, self.b5_2 = (Residual(1024, 512, 1024, dilations=(2, 2)) for _ in range(2))
        self.b6 = Bottleneck(1024, 2048, 4, 0.3)
        self.b7 = Bottleneck(2048, 4096, 4, 0.5)
        self.bn7 = nn.BatchNorm2d(4096)
        stages: dict[str, nn.ModuleList] = {}
        for name, module in self.named_children():
            stages.setdefault(name.partition("_")[0], nn.ModuleList()).append(module)
        self.freeze(list(stages.values()), frozen_stages, batch_norm)

    @property
    def tap_channels(self) -> tuple[int, int, int]:
        return 512, 1024, 4096

    def taps(self, images: Tensor) -> list[Tensor]:
        """Three feature maps of rising depth at stride 8: the activated inputs of b5 and b6, and the output."""
        *_, four, five, last = self.pyramid(images)
        return [self.b5.activated(four), self.b6.activated(five), last]

    @property
    def pyramid_channels(self) -> tuple[int, ...]:
        return 128, 256, 512, 1024, 4096

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Five feature maps of rising depth, from stride 2 on: outputs of b2, b3, b4 and b5, and the activated end."""
        features, maps = self.conv1a(images), []
        blocks = {name: block for name, block in self.named_children() if name.startswith("b") and name != "bn7"}
        for name, block in blocks.items():
            features = block(features)
            if name in {"b2_2", "b3_2", "b4_5", "b5_2"}:
                maps.append(features)
        return [*maps, relu(self.bn7(features))]

    def imagenet(self) -> dict[str, Tensor]:
        raise UserError(
            "config: torchvision has no ImageNet weights of resnet38; name the file of its published ones under initial"
        )

    def from_mxnet(self, arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
        """State dict from the published MXNet parameters: `res2a_branch2a_weight`, `bn2b1_branch2b1_gamma` and so on.

        The block of a name is its stage and, but for the first block (`a`), the number that ends it: `b2`, `b2_1`.
        """
        state = {}
        for name, array in arrays.items():
            layer, _, part = name.removeprefix("arg:").removeprefix("aux:").rpartition("_")
            if part in {"mean", "var"}:
                layer, part = layer.removesuffix("_moving"), f"running_{part}"
            part = {"gamma": "weight", "beta": "bias"}.get(part, part)
            if match := re.fullmatch(r"(res|bn)(\d)(\w+)_(branch\w+)", layer):
                kind, stage, block, branch = match.groups()
                block = "" if block.endswith("a") else f"_{block[-1]}"
                layer = f"b{stage}{block}.{'conv' if kind == 'res' else 'bn'}_{branch}"
            state[f"{layer}.{part}"] = torch.from_numpy(array.copy())
        return state
