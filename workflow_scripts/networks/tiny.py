"""A small residual network for small images: trains from scratch on a CPU in under a minute."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import relu

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types import parts
from workflow_scripts.networks.backbone import FeaturePyramid


class Tiny(parts.Backbone):
    name: Literal["tiny"]

    def held(self, crop: int) -> parts.Held:
        return self.of_stages(0.4, (26, 2), (50, 4), (23, 8), (26, 16), (32, 16))


class Residual(nn.Module):
    """Two 3x3 convolutions with batch normalisation beside a shortcut, projected where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int = 1):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, dilation, dilation, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        branch = relu(self.first_norm(self.first(inputs)))
        return relu(self.second_norm(self.second(branch)) + self.shortcut(inputs))


class Backbone(FeaturePyramid):
    """(B, 3, H, W) -> (B, 96, H/8, W/8)."""

    channels = 96
    ignored = ("classifier.",)

    def __init__(self, stride: int = 8, batch_norm: str = "trained", frozen_stages: int = 0):
        super().__init__()
        if stride not in (8, 16):
            raise UserError(f"config: backbone tiny has stride 8 or 16, not {stride}")
        self.stride = stride
        self.stem = nn.Conv2d(3, 24, 3, 2, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(24)
        self.layers = nn.Sequential(
            Residual(24, 32, 2),
            Residual(32, 64, 2),
            Residual(64, 96, 2 if stride == 16 else 1),
            Residual(96, 96, 1, dilation=2),
        )
        self.freeze([nn.ModuleList([self.stem, self.stem_norm]), *self.layers], frozen_stages, batch_norm)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(relu(self.stem_norm(self.stem(images))))

    @property
    def pyramid_channels(self) -> tuple[int, ...]:
        return 24, 32, 64, 96, 96

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Five feature maps of rising depth, from stride 2 on."""
        features = relu(self.stem_norm(self.stem(images)))
        maps = [features]
        for layer in self.layers:
            features = layer(features)
            maps.append(features)
        return maps

    def imagenet(self) -> dict[str, Tensor]:
        raise UserError("config: backbone tiny has no ImageNet weights; set initial: random")
