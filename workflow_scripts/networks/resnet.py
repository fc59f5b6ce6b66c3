"""ResNet-50 and ResNet-101 (He et al., CVPR 2016) on torchvision's layers, in the forms of DeepLab-V2 and of IRN."""

import re
from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torchvision import models

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types import parts
from workflow_scripts.networks.backbone import FeaturePyramid
from workflow_scripts.networks.colours import Colours


class Resnet(parts.Backbone):
    name: Literal["resnet"]
    depth: Literal[50, 101] = Field(description="layers")
    stride_in: Literal["first", "middle"] = Field(
        description="layer of a block that takes the stride: 1x1 as He et al. and DeepLab, 3x3 as torchvision's weights"
    )
    colours: Literal["torch", "caffe"] = Field(description="that the initial weights were made for")
    form: Literal["deeplab", "irn"] = Field(
        "deeplab", description="last stages dilated, pooling rounded up; or as IRN, layer4 of stride 1 without dilation"
    )

    def held(self, crop: int) -> parts.Held:
        third = 1600 if self.depth == 50 else 5700
        return self.of_stages(25 if self.depth == 50 else 44, (175, 2), (640, 4), (575, 8), (third, 16), (1550, 32))


DILATIONS = {8: (1, 1, 2, 4), 16: (1, 1, 1, 2), 32: (1, 1, 1, 1)}  # of the four layers, by stride


class Backbone(FeaturePyramid):
    """(B, 3, H, W) -> (B, 2048, h, w), h = ceil(H / stride) up to one cell; state dict as torchvision's.

    Stages, for `frozen_stages`: stem, layer1, layer2, layer3, layer4.

    Args:
        depth: 50 or 101.
        stride_in: "first", the 1x1 layer as He et al. and DeepLab; or "middle", the 3x3 layer as torchvision's weights.
        colours: that the weights were made for, "torch" or "caffe".
        form: "deeplab", whose max pooling rounds up (321 pixels are 41 cells at stride 8) and whose last stages are dilated,
            all their 3x3 layers, the first one included; or "irn" (Ahn et al., CVPR 2019), torchvision's network but for
            layer4, which has stride 1, and no dilation.
    """

    channels = 2048
    ignored = ("fc.", "aspp.")
    wrappers = ("resnet50.",)  # IRN's code, whose files also have its layers under these names:
    unused = ("resnet50.fc.", *(f"stage{number}." for number in range(1, 6)), *(f"backbone.{n}." for n in range(5)))

    def __init__(
        self,
        stride: int = 8,
        batch_norm: str = "frozen",
        frozen_stages: int = 0,
        depth: int = 101,
        stride_in: str = "first",
        colours: str = "torch",
        form: str = "deeplab",
    ):
        super().__init__()
        if stride not in DILATIONS:
            raise UserError(f"config: backbone resnet has stride 8, 16 or 32, not {stride}")
        if form == "irn" and (stride, stride_in) != (16, "middle"):
            raise UserError(
                f"config: backbone resnet as 'irn' has stride 16 and stride_in: middle, not {stride} and {stride_in}"
            )
        self.stride, self.depth, self.stride_in = stride, depth, stride_in
        self.colours = Colours(colours)
        whole = getattr(models, f"resnet{depth}")(weights=None)
        self.conv1, self.bn1 = whole.conv1, whole.bn1
        self.maxpool = nn.MaxPool2d(3, 2, 1, ceil_mode=form == "deeplab")
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4
        dilations = DILATIONS[stride] if form == "deeplab" else (1, 1, 1, 1)
        for layer, dilation, reached in zip(self._layers(), dilations, (4, 8, 16, 32), strict=True):
            for block in layer:
                block.conv2.dilation = block.conv2.padding = (dilation, dilation)
            first = layer[0]
            step = (2, 2) if 4 < reached <= stride else (1, 1)
            first.downsample[0].stride = step
            first.conv1.stride, first.conv2.stride = (step, (1, 1)) if stride_in == "first" else ((1, 1), step)
        self.freeze([nn.ModuleList([self.conv1, self.bn1]), *self._layers()], frozen_stages, batch_norm)

    @property
    def renames(self) -> tuple[tuple, ...]:
        """Names in IRN's files, and in DeepLab-V2's converted checkpoints (deeplab-pytorch, BANA), which want caffe's colours and
        strides."""
        return (
            (r"resnet50\.", self._of_torchvision),
            (r"(?:base|scale)\.(?=layer|aspp|fc)", ""),
            (r"layer1\.conv1\.(conv|bn)\.", lambda match: "conv1." if match[1] == "conv" else "bn1."),
            (r"layer(\d)\.block(\d+)\.(\w+)\.(conv|bn)\.", self._of_caffe),
        )

    def _of_torchvision(self, match: re.Match) -> str:
        if self.colours.kind != "torch" or self.stride_in != "middle":
            raise UserError(
                f"config: backbone resnet: weights with layers named like {match[0]}conv1.weight were made for colours: torch "
                f"and stride_in: middle, found {self.colours.kind} and {self.stride_in}; set both"
            )
        return ""

    def _of_caffe(self, match: re.Match) -> str:
        if self.colours.kind != "caffe" or self.stride_in != "first":
            raise UserError(
                f"config: backbone resnet: weights with layers named like {match[0]}weight were made for colours: caffe "
                f"and stride_in: first, found {self.colours.kind} and {self.stride_in}; set both"
            )
        stage, block, layer, kind = match.groups()
        place = f"layer{int(stage) - 1}.{int(block) - 1}."
        if layer in {"shortcut", "proj"}:
            return place + ("downsample.0." if kind == "conv" else "downsample.1.")
        return place + f"{kind}{ {'reduce': 1, 'conv3x3': 2, 'increase': 3}.get(layer, layer) }."

    def _layers(self) -> tuple[nn.Module, ...]:
        return self.layer1, self.layer2, self.layer3, self.layer4

    @property
    def pyramid_channels(self) -> tuple[int, ...]:
        return 64, 256, 512, 1024, 2048

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Five feature maps of rising depth, from stride 2 on."""
        maps = [self.bn1(self.conv1(self.colours(images))).relu()]
        features = self.maxpool(maps[0])
        for layer in self._layers():
            features = layer(features)
            maps.append(features)
        return maps

    @property
    def torchvision(self) -> models.WeightsEnum:
        return getattr(models, f"ResNet{self.depth}_Weights").IMAGENET1K_V1
