"""MobileNetV2 (Sandler et al., CVPR 2018) from torchvision, the last stages dilated to keep a finer feature map."""

from typing import Literal

from torch import Tensor, nn
from torchvision.models import MobileNet_V2_Weights, mobilenet_v2

from workflow_scripts.config.types import parts
from workflow_scripts.networks.backbone import FeaturePyramid
from workflow_scripts.networks.depthwise import DepthwiseConv


class MobileNetV2(parts.Backbone):
    name: Literal["mobilenet_v2"]

    def held(self, crop: int) -> parts.Held:
        fine, middle, coarse = [64, 144, 382, 228, 143, 76, 76], [152] * 4 + [228] * 3, [390] * 3 + [180]
        stages = [*((kept, 8) for kept in fine), *((kept, 16) for kept in middle), *((kept, 32) for kept in coarse)]
        return self.of_stages(2.4, *((1.1 * kept, stride) for kept, stride in stages))


class Backbone(FeaturePyramid):
    """(B, 3, H, W) -> (B, 1280, H/stride, W/stride), stride 8, 16 or 32; state dict as torchvision's `features`."""

    channels = 1280
    ignored = ("classifier.",)
    torchvision = MobileNet_V2_Weights.IMAGENET1K_V1

    def __init__(self, stride: int = 16, batch_norm: str = "frozen", frozen_stages: int = 0):
        super().__init__()
        self.stride = stride
        self.features = mobilenet_v2(weights=None).features
        current, dilation = 1, 1
        for module in self.features.modules():
            if not isinstance(module, nn.Conv2d):
                continue
            if module.groups > 1:
                module.__class__ = DepthwiseConv
            if module.stride == (2, 2):
                if current == stride:
                    # The skipped stride moves into the dilation of what follows; this layer keeps its own taps.
                    module.stride = (1, 1)
                    _dilate(module, dilation)
                    dilation *= 2
                    continue
                current *= 2
            _dilate(module, dilation)
        self.freeze(self.features, frozen_stages, batch_norm)

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images)

    @property
    def pyramid_channels(self) -> tuple[int, ...]:
        return 16, 24, 32, 96, 1280

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Five feature maps of rising depth, from stride 2 on."""
        maps, features = [], images
        for number, layer in enumerate(self.features):
            features = layer(features)
            if number in (1, 3, 6, 13, 18):
                maps.append(features)
        return maps


def _dilate(convolution: nn.Conv2d, dilation: int) -> None:
    if convolution.kernel_size == (3, 3):
        convolution.dilation = convolution.padding = (dilation, dilation)
