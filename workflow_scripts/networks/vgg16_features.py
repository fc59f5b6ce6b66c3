"""The convolutions of VGG16 (Simonyan and Zisserman, ICLR 2015) in torchvision's layout, for networks that tap all five stages.

Layers are numbered as in torchvision's `features`, so that checkpoints of networks built on those load as they are.
"""

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models import VGG16_Weights

from workflow_scripts.networks.torchvision_weights import published_state

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels and convolutions
CHANNELS = tuple(channels for channels, _ in STAGES)


class Vgg16Features(nn.Sequential):
    """(B, 3, H, W) -> (B, 512, H / 32, W / 32); `taps` also gives the last map of every stage, before its pooling.

    Args:
        wide_pools: pooling after stages 4 and 5 is over 3x3, as in the published DSS, else over 2x2.
        dropout: share of activations dropped after every stage, in training alone.
    """

    def __init__(self, wide_pools: bool = False, dropout: float = 0.0):
        layers: list[nn.Module] = []
        inputs = 3
        for stage, (channels, count) in enumerate(STAGES, start=1):
            for _ in range(count):
                convolution = nn.Conv2d(inputs, channels, 3, padding=1)
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
                nn.init.zeros_(convolution.bias)
                layers += [convolution, nn.ReLU()]
                inputs = channels
            layers.append(nn.MaxPool2d(3, 2, 1) if wide_pools and stage > 3 else nn.MaxPool2d(2, 2))
        super().__init__(*layers)
        self.dropout = dropout

    def taps(self, images: Tensor) -> list[Tensor]:
        """Six maps: the ends of the five stages, at strides 1, 2, 4, 8 and 16, and the last pooled one, at 32."""
        maps, features = [], images
        for layer in self:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(features)
                features = nn.functional.dropout(layer(features), self.dropout, self.training)
            else:
                features = layer(features)
        return [*maps, features]

    def forward(self, images: Tensor) -> Tensor:
        return self.taps(images)[-1]

    def imagenet(self) -> dict[str, Tensor]:
        """torchvision's ImageNet weights, downloaded with its own checksum on first use."""
        return self.renamed(published_state(VGG16_Weights.IMAGENET1K_V1))

    def renamed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The convolutions of a VGG16 in torchvision's names (`features.0.weight`), its own, or caffe's (`conv1_1.weight`)."""
        numbers = [str(number) for number, layer in enumerate(self) if isinstance(layer, nn.Conv2d)]
        caffe = [f"conv{stage}_{n + 1}" for stage, (_, count) in enumerate(STAGES, start=1) for n in range(count)]
        own = dict(zip(caffe, numbers, strict=True))
        named = {}
        for name, value in state.items():
            if name.startswith(("classifier.", "fc")):
                continue
            layer, _, part = name.removeprefix("features.").rpartition(".")
            named[f"{own.get(layer, layer)}.{part}"] = value
        return named
