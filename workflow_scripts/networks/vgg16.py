"""VGG16 (Simonyan and Zisserman, ICLR 2015) in the forms that PSA, DeepLab, BANA and SeeNet made of it.

Layers bear caffe's names (conv1_1 to conv5_3, fc6, fc7), so that published checkpoints load as they are.
"""

from typing import Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d, relu
from torchvision.models import VGG16_Weights

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.types import parts
from workflow_scripts.networks.backbone import FeaturePyramid
from workflow_scripts.networks.colours import Colours


class Vgg16(parts.Backbone):
    name: Literal["vgg16"]
    form: Literal["psa", "large_fov", "aspp", "seenet"] = Field(description="what the paper made of it")
    fc6_dilation: PositiveInt = Field(description="of the 3x3 layer fc6, feature cells; forms psa and large_fov")
    colours: Literal["torch", "caffe"] = Field(description="that the initial weights were made for")

    def held(self, crop: int) -> parts.Held:
        layers = ((240, 8),) if self.form in {"psa", "large_fov"} else ()
        return self.of_stages(21 if layers else 15, (670, 1), (400, 2), (270, 4), (190, 8), (235, 16), *layers)


STAGES = {1: (64, 2), 2: (128, 2), 3: (256, 3), 4: (512, 3), 5: (512, 3)}  # channels and convolutions
STRIDES = {"psa": 8, "large_fov": 8, "aspp": 8, "seenet": 16}


class Backbone(FeaturePyramid):
    """(B, 3, H, W) -> (B, channels, h, w). Stages, for `frozen_stages`: conv1 to conv5, fc.

    Args:
        form: "psa", no fifth pooling, fc6 and fc7 (1,024 channels); "large_fov", as DeepLab-V1 and BANA: fifth pooling
            by maximum and then by mean, fc6 and fc7, dropout after both; "aspp", as DeepLab-V2: fifth pooling by maximum,
            512 channels, fc6 and fc7 are the head's; "seenet": no dilation, 512 channels. All have stride 8, "seenet" 16.
        fc6_dilation: of the 3x3 layer fc6, in feature cells.
        colours: that the weights were made for, "caffe" or "torch".

    torchvision's weights want `colours: torch`; fc6 and fc7 are of other shapes there, and start at random.
    """

    torchvision = VGG16_Weights.IMAGENET1K_V1

    def __init__(
        self,
        stride: int = 8,
        batch_norm: str = "frozen",
        frozen_stages: int = 0,
        form: str = "large_fov",
        fc6_dilation: int = 12,
        colours: str = "caffe",
    ):
        super().__init__()
        if stride != STRIDES[form]:
            raise UserError(f"config: backbone vgg16 as {form!r} has stride {STRIDES[form]}, not {stride}")
        self.stride, self.form = stride, form
        self.colours = Colours(colours)
        inputs = 3
        for stage, (channels, count) in STAGES.items():
            dilation = 2 if stage == 5 and form != "seenet" else 1
            for number in range(1, count + 1):
                layer = nn.Conv2d(inputs, channels, 3, padding=dilation, dilation=dilation)
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
                self.add_module(f"conv{stage}_{number}", layer)
                inputs = channels
        self.has_fc = form in {"psa", "large_fov"}
        self.channels = 1024 if self.has_fc else 512
        if self.has_fc:
            self.fc6 = nn.Conv2d(512, 1024, 3, padding=fc6_dilation, dilation=fc6_dilation)
            self.fc7 = nn.Conv2d(1024, 1024, 1)
            self.dropout = nn.Dropout2d(0.5)  # PSA, DeepLab, BANA
        stages: dict[str, nn.ModuleList] = {}
        for name, module in self.named_children():
            if name.startswith(("conv", "fc")):
                stages.setdefault(name.partition("_")[0] if name.startswith("conv") else "fc", nn.ModuleList()).append(
                    module
                )
        self.freeze(list(stages.values()), frozen_stages, batch_norm)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Layers of checkpoints that this form lacks."""
        heads = ("classifier.", "f8_", "gn8_", "f9.")
        return ("fc8", *heads) if self.has_fc else ("fc", *heads)

    @property
    def renames(self) -> tuple[tuple[str, str], ...]:
        """torchvision counts the layers of `features`: 13 convolutions, each with a ReLU, and the poolings between."""
        rules, number = [], 0
        for stage, (_, count) in STAGES.items():
            for convolution in range(1, count + 1):
                rules.append((rf"features\.{number}\.", f"conv{stage}_{convolution}."))
                number += 2
            number += 1
        return tuple(rules)

    @property
    def unfilled(self) -> tuple[str, ...]:
        """Layers that torchvision's weights do not have and that start at random."""
        return ("fc6.", "fc7.")

    @property
    def pyramid_channels(self) -> tuple[int, ...]:
        return 128, 256, 512, 512, self.channels

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Five feature maps of rising depth, from stride 2 on: the ends of stages 2 to 5, and the output."""
        features, maps = self.colours(images), []
        for stage, (_, count) in STAGES.items():
            for number in range(1, count + 1):
                features = relu(getattr(self, f"conv{stage}_{number}")(features))
            maps.append(features)
            features = self._pool(features, stage)
        if self.has_fc:
            features = relu(self.fc7(self.dropout(relu(self.fc6(features)))))
            if self.form == "large_fov":
                features = self.dropout(features)
        return [*maps[1:], features]

    def _pool(self, features: Tensor, stage: int) -> Tensor:
        if self.form == "seenet":
            return max_pool2d(features, 2, 2) if stage < 5 else features
        if stage < 5:
            return max_pool2d(features, 3, 2 if stage < 4 else 1, 1)
        if self.form == "psa":
            return features
        features = max_pool2d(features, 3, 1, 1)
        return avg_pool2d(features, 3, 1, 1) if self.form == "large_fov" else features
