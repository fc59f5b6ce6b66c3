"""Deeply supervised salient object detection with short connections, DSS (Hou et al., CVPR 2017).

VGG16 with six side outputs; every shallow one is also given the scores of deeper ones. All of them and their fusion
are trained. The published Caffe network pads its first layer by 5 pixels and crops its outputs; here an image is padded
to a multiple of 32 instead.
"""

import re
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, pad

from workflow_scripts.config.types import saliency_blocks
from workflow_scripts.networks.vgg16_features import CHANNELS, Vgg16Features


class DssNetwork(saliency_blocks.SaliencyNetwork):
    name: Literal["dss"]
    form: Literal["caffe", "port"] = Field(description="as published, or its PyTorch port")
    averaged: tuple[Literal[1, 2, 3, 4, 5, 6], ...] = Field(description="side outputs averaged with the fusion")
    reduction: Literal["sum", "mean"] = Field(description="of the loss over the pixels of an image")


# Channels and kernel of the two convolutions of each side output (Table 1), from the shallowest to the deepest
SIDES = ((128, 3), (128, 3), (256, 5), (256, 5), (512, 5), (512, 7))
DEEPER = ((2, 3, 4, 5), (2, 3, 4, 5), (4, 5), (4, 5), (), ())  # 0-based side outputs whose scores each is given
STRIDE = 32

CAFFE_VGG16, CAFFE_SIDE = re.compile(r"conv\d_\d\."), re.compile(r"conv(\d)-dsn(\d)")
# Where in the Caffe network's joined scores ours stand, by how many deeper ones there are: it joins own, 5, 4, 6, 3 and
# own, 6, 5; ours are own, then from the shallowest on.
CAFFE_ORDER = {4: [0, 4, 2, 1, 3], 2: [0, 2, 1]}


class SideOutput(nn.Module):
    """Two convolutions and a score (B, 1, h, w)."""

    def __init__(self, inputs: int, channels: int, kernel: int):
        super().__init__()
        half = kernel // 2
        self.main = nn.Sequential(
            nn.Conv2d(inputs, channels, kernel, padding=half), nn.ReLU(),
            nn.Conv2d(channels, channels, kernel, padding=half), nn.ReLU(),
            nn.Conv2d(channels, 1, 1),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        return self.main(features)


class Larger(nn.ConvTranspose2d):
    """A map `factor` times as large: bilinear, fixed as published or, in the port, learned from there on."""

    def __init__(self, factor: int, learned: bool):
        super().__init__(1, 1, 2 * factor, factor, factor // 2)
        ramp = 1 - (torch.arange(2 * factor) - (factor - 0.5)).abs() / factor
        with torch.no_grad():
            self.weight.copy_(ramp[:, None] * ramp)
            self.bias.zero_()
        self.requires_grad_(learned)


class ShortConnection(nn.Module):
    """The score of a side output from its own and deeper ones, brought to the size of the image."""

    def __init__(self, factors: list[int], stride: int, port: bool):
        super().__init__()
        self.upconv = nn.ModuleList([Larger(factor, learned=port) for factor in factors])
        self.conv = nn.Conv2d(len(factors) + 1, 1, 1) if factors or port else None
        self.deconv = Larger(stride, learned=port) if stride > 1 else None

    def forward(self, score: Tensor, deeper: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The joined score at its own size, and as large as the image."""
        if self.conv is not None:
            larger = [layer(other) for layer, other in zip(self.upconv, deeper, strict=True)]
            score = self.conv(torch.cat([score, *larger], dim=1))
        return score, self.deconv(score) if self.deconv else score


class SaliencyNetwork(nn.Module):
    """(B, 3, H, W) normalised images -> (B, 7, H, W) logits: six side outputs from the shallowest on, and their fusion.

    Args:
        options: `form`, "caffe" as published or "port", the PyTorch port, whose pools 4 and 5 are over 2x2 as VGG16's,
            whose up-sampling is learned, and whose deeper side outputs hand on their own scores and not those that
            their short connections gave; `averaged`, side outputs (1 to 6) that a map is the mean of, with the fusion;
            `reduction`, the loss of an image is the "sum" over its pixels or their "mean".
    """

    def __init__(self, options: SimpleNamespace):
        super().__init__()
        self.options, self.port = options, options.form == "port"
        self.base = Vgg16Features(wide_pools=not self.port)
        inputs = (*CHANNELS, CHANNELS[-1])
        self.feat = nn.ModuleList([SideOutput(count, *side) for count, side in zip(inputs, SIDES, strict=True)])
        self.comb = nn.ModuleList(
            [ShortConnection([2 ** (k - own) for k in deeper], 2**own, self.port) for own, deeper in enumerate(DEEPER)]
        )
        self.fuse = nn.Conv2d(len(SIDES), 1, 1, bias=not self.port)
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Conv2d) and not name.startswith("base"):
                nn.init.normal_(layer.weight, std=0.01)  # the published network
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        nn.init.constant_(self.fuse.weight, 1 / len(SIDES))

    @property
    def backbone(self) -> Vgg16Features:
        """The part that has initial weights."""
        return self.base

    def new_parameters(self) -> list[nn.Parameter]:
        """The scoring layers, which learn at a tenth of the rate of all others in the published network."""
        scores = [side.main[-1] for side in self.feat] + [join.conv for join in self.comb if join.conv is not None]
        return [parameter for layer in (*scores, self.fuse) for parameter in layer.parameters()]

    def published_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Layers of the port, or of the published Caffe network once its layers are keys (`conv1-dsn6.weight`), renamed.

        The Caffe network joins the scores of deeper side outputs in another order. Its up-sampling is bilinear, as ours.
        """
        if "conv1_1.weight" in state:
            return self._caffe_names(state)
        renamed = {name: value for name, value in state.items() if name != "fuse.weights"}
        if "fuse.weights" in state:
            renamed["fuse.weight"] = state["fuse.weights"].reshape(1, -1, 1, 1)
        elif "base.0.weight" in state and "fuse.weight" not in state:  # the port's first version takes the mean
            renamed["fuse.weight"] = torch.full_like(self.fuse.weight, 1 / len(SIDES))
        return renamed

    def _caffe_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        features = self.base.renamed({name: value for name, value in state.items() if CAFFE_VGG16.match(name)})
        renamed = {f"base.{name}": value for name, value in features.items()}
        renamed |= {name: value for name, value in self.state_dict().items() if "upconv" in name or "deconv" in name}
        for name, value in state.items():
            layer, _, part = name.rpartition(".")
            found = CAFFE_SIDE.fullmatch(layer)
            if found:
                number, side = int(found[1]), int(found[2]) - 1
                if number < 4:
                    renamed[f"feat.{side}.main.{2 * (number - 1)}.{part}"] = value
                    continue
                order = CAFFE_ORDER[len(DEEPER[side])]
                renamed[f"comb.{side}.conv.{part}"] = value[:, order] if part == "weight" else value
            elif layer == "new-score-weighting":
                renamed[f"fuse.{part}"] = value
            elif not CAFFE_VGG16.match(name) and not layer.startswith("upsample"):
                renamed[name] = value
        return renamed

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        taps = self.base.taps(pad(images, (0, -width % STRIDE, 0, -height % STRIDE)))
        taps[-1] = avg_pool2d(taps[-1], 3, 1, 1)
        scores = [side(features) for side, features in zip(self.feat, taps, strict=True)]
        joined, outputs = list(scores), [torch.empty(0)] * len(scores)
        for own in reversed(range(len(scores))):  # a short connection may take what a deeper one gave
            given = scores if self.port else joined
            joined[own], outputs[own] = self.comb[own](scores[own], [given[deeper] for deeper in DEEPER[own]])
        sides = torch.cat(outputs, dim=1)
        return torch.cat([sides, self.fuse(sides)], dim=1)[..., :height, :width]

    def maps(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) foreground probabilities: the mean of some side outputs and the fusion."""
        chosen = [*(side - 1 for side in self.options.averaged), len(SIDES)]
        return self(images)[:, chosen].sigmoid().mean(dim=1, keepdim=True)

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross entropy of every side output and of the fusion, to be summed.

        The batch holds `image`, `mask` (B, 1, H, W) in [0, 1] and `valid` (B, 1, H, W), 0 on padding, which does not count.
        """
        logits, valid = self(batch["image"]).float(), batch["valid"]
        target = batch["mask"].expand_as(logits)
        loss = (binary_cross_entropy_with_logits(logits, target, reduction="none") * valid).sum(dim=(2, 3))
        loss = loss.mean(dim=0) if self.options.reduction == "sum" else (loss / valid.sum(dim=(2, 3))).mean(dim=0)
        return {**{f"side_{k + 1}": value for k, value in enumerate(loss[:-1])}, "fusion": loss[-1]}
