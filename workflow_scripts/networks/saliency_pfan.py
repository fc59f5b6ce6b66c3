"""Pyramid Feature Attention Network, PFAN (Zhao and Wu, CVPR 2019), in the layout of its PyTorch port.

Layers bear the port's names, so that its checkpoints load as they are. Options give the official Keras network, whose
maps EPS used.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Literal

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy, interpolate

from workflow_scripts.config.types import saliency_blocks
from workflow_scripts.config.types.parts import Share
from workflow_scripts.data.transforms import MEAN, STANDARD_DEVIATION
from workflow_scripts.networks.vgg16_features import CHANNELS, STAGES, Vgg16Features


class PfanNetwork(saliency_blocks.SaliencyNetwork):
    name: Literal["pfan"]
    high_level_kernel: Literal[1, 3] = Field(
        description="side of the layer on high-level features: official code, port"
    )
    colours: Literal["torch", "keras"] = Field(
        description="torch: mean 0, deviation 1; keras: RGB less the means of BGR, as the official code has it"
    )
    batch_norm: Literal["running", "batch"] = Field(
        description="running: statistics of the training, as the port; batch: its own, at test time too, as official"
    )
    dropout: Share = Field(description="share of activations dropped after every stage of VGG16")
    edge_weight: Share = Field(description="of the loss on edges; the loss on maps has the rest")
    positive_weight: PositiveFloat = Field(description="of foreground in the loss on maps, beside background")

    def check_side(self, side: int | None) -> None:
        if side is None or side % 16:
            raise ValueError(f"network pfan takes squares of a multiple of 16 pixels, not input.side {side}")


Norm = Callable[[int], nn.BatchNorm2d]

DILATIONS = (3, 5, 7)
NORMS = {
    "running": nn.BatchNorm2d,
    "batch": partial(nn.BatchNorm2d, eps=1e-3, track_running_stats=False),  # the batch's own, at test time too
}
KERAS_MEAN = (103.939, 116.779, 123.68)  # of blue, green, red, which the official code takes off red, green, blue


# Layers of the official network by the names that its code gives them; its two dense layers are numbered by Keras.
KERAS_LAYERS = {
    **{f"C{k}_cfe_cfe0": f"cpfe_conv{k}_3.conv_1_1" for k in (3, 4, 5)},
    **{f"C{k}_cfe_cfe{n}_dilation": f"cpfe_conv{k}_3.conv_dil_{d}" for k in (3, 4, 5) for n, d in enumerate(DILATIONS, 1)},
    **{f"C{k}_cfe_BN": f"cpfe_conv{k}_3.bn" for k in (3, 4, 5)},
    **{"C345_conv": "hl_conv1", "C345_BN": "hl_bn1", "C12_conv": "ll_conv_3", "C12_BN": "ll_bn_3", "sa": "ff_conv_1"},
    **{"C1_conv": "ll_conv_1", "C1_BN_BN": "ll_bn_1", "C2_conv": "ll_conv_2", "C2_BN_BN": "ll_bn_2"},
    **{"spatial_attention_1_conv1": "spa_att.grp1_conv1k", "spatial_attention_1_conv2": "spa_att.grp1_convk1"},
    **{"spatial_attention_2_conv1": "spa_att.grp2_convk1", "spatial_attention_2_conv2": "spa_att.grp2_conv1k"},
    **{f"attention{group}_{n}_BN": f"spa_att.grp{group}_bn{n}" for group in (1, 2) for n in (1, 2)},
}  # fmt: skip


class ContextFeatures(nn.Module):
    """Context-aware pyramid feature extraction: 1x1 and three dilated 3x3 convolutions side by side, 128 channels."""

    def __init__(self, inputs: int, norm: Norm, outputs: int = 32):
        super().__init__()
        self.conv_1_1 = nn.Conv2d(inputs, outputs, 1, bias=False)
        for dilation in DILATIONS:
            layer = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)
            self.add_module(f"conv_dil_{dilation}", layer)
        self.bn = norm(outputs * (1 + len(DILATIONS)))

    def forward(self, features: Tensor) -> Tensor:
        layers = [self.conv_1_1, *(getattr(self, f"conv_dil_{dilation}") for dilation in DILATIONS)]
        return self.bn(torch.cat([layer(features) for layer in layers], dim=1)).relu()


class ChannelAttention(nn.Module):
    """(B, C, h, w) -> weights of the channels (B, C) in (0, 1)."""

    def __init__(self, channels: int):
        super().__init__()
        self.linear_1 = nn.Linear(channels, channels // 4)
        self.linear_2 = nn.Linear(channels // 4, channels)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear_2(self.linear_1(features.mean(dim=(2, 3))).relu()).sigmoid()


class SpatialAttention(nn.Module):
    """(B, C, h, w) -> weights of the places (B, 1, h, w): two pairs of long thin convolutions, crossed."""

    def __init__(self, channels: int, norm: Norm, size: int = 9):
        super().__init__()
        half, across, down = size // 2, (1, size), (size, 1)
        self.grp1_conv1k = nn.Conv2d(channels, channels // 2, across, padding=(0, half))
        self.grp1_bn1 = norm(channels // 2)
        self.grp1_convk1 = nn.Conv2d(channels // 2, 1, down, padding=(half, 0))
        self.grp1_bn2 = norm(1)
        self.grp2_convk1 = nn.Conv2d(channels, channels // 2, down, padding=(half, 0))
        self.grp2_bn1 = norm(channels // 2)
        self.grp2_conv1k = nn.Conv2d(channels // 2, 1, across, padding=(0, half))
        self.grp2_bn2 = norm(1)

    def forward(self, features: Tensor) -> Tensor:
        one = self.grp1_bn1(self.grp1_conv1k(features)).relu()
        one = self.grp1_bn2(self.grp1_convk1(one)).relu()
        other = self.grp2_bn1(self.grp2_convk1(features)).relu()
        other = self.grp2_bn2(self.grp2_conv1k(other)).relu()
        return (one + other).sigmoid()


class SaliencyNetwork(nn.Module):
    """(B, 3, H, W) normalised images -> (B, 1, H, W) logits; H and W multiples of 16.

    Args:
        options: `high_level_kernel` 3 (port) or 1 (official), `colours` "torch" (port) or "keras" (official: RGB less
            the means of BGR), `batch_norm` "running" (port) or "batch" (official), `dropout` after every stage (0 in
            the port, 0.3 in the official code); `edge_weight` and `positive_weight` of the loss.
    """

    def __init__(self, options: SimpleNamespace):
        super().__init__()
        self.options = options
        norm = NORMS[options.batch_norm]
        self.vgg16 = Vgg16Features(dropout=options.dropout)
        self.cpfe_conv3_3 = ContextFeatures(CHANNELS[2], norm)
        self.cpfe_conv4_3 = ContextFeatures(CHANNELS[3], norm)
        self.cpfe_conv5_3 = ContextFeatures(CHANNELS[4], norm)
        self.cha_att = ChannelAttention(384)
        kernel = options.high_level_kernel
        self.hl_conv1 = nn.Conv2d(384, 64, kernel, padding=kernel // 2)
        self.hl_bn1 = norm(64)
        self.ll_conv_1 = nn.Conv2d(CHANNELS[0], 64, 3, padding=1)
        self.ll_bn_1 = norm(64)
        self.ll_conv_2 = nn.Conv2d(CHANNELS[1], 64, 3, padding=1)
        self.ll_bn_2 = norm(64)
        self.ll_conv_3 = nn.Conv2d(128, 64, 3, padding=1)
        self.ll_bn_3 = norm(64)
        self.spa_att = SpatialAttention(64, norm)
        self.ff_conv_1 = nn.Conv2d(128, 1, 3, padding=1)
        # From images of mean 0 and deviation 1 to the colours of the official code
        scale = 255 * torch.tensor(STANDARD_DEVIATION)[:, None, None]
        self.register_buffer("scale", scale, persistent=False)
        shift = 255 * torch.tensor(MEAN) - torch.tensor(KERAS_MEAN)
        self.register_buffer("shift", shift[:, None, None], persistent=False)

    @property
    def backbone(self) -> Vgg16Features:
        """The part that has initial weights."""
        return self.vgg16

    def new_parameters(self) -> list[nn.Parameter]:
        """What is not VGG16."""
        old = {id(parameter) for parameter in self.vgg16.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in old]

    def published_names(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Layers of the port, whose names are ours, or of the official Keras network, renamed; others are left as they are."""
        if not any(name.startswith("block1_conv1.") for name in state):
            return dict(state)
        dense = sorted(
            {name.partition(".")[0] for name in state if name.startswith("dense")}, key=lambda n: (len(n), n)
        )
        own = KERAS_LAYERS | dict(zip(dense, ("cha_att.linear_1", "cha_att.linear_2"), strict=False))
        convolutions = [number for number, layer in enumerate(self.vgg16) if isinstance(layer, nn.Conv2d)]
        blocks = [f"block{stage}_conv{n + 1}" for stage, (_, count) in enumerate(STAGES, start=1) for n in range(count)]
        own |= {name: f"vgg16.{number}" for name, number in zip(blocks, convolutions, strict=True)}
        renamed = {}
        for name, value in state.items():
            layer, _, part = name.rpartition(".")
            if not part.startswith("running") or self.options.batch_norm == "running":
                renamed[f"{own.get(layer, layer)}.{part}"] = value
        return renamed

    def forward(self, images: Tensor) -> Tensor:
        return self._logits(images)[0]

    def maps(self, images: Tensor) -> Tensor:
        """(B, 1, H, W) foreground probabilities."""
        return self(images).sigmoid()

    def _logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and channel attention (B, 384)."""
        if self.options.colours == "keras":
            images = images * self.scale + self.shift
        one, two, three, four, five, _ = self.vgg16.taps(images)
        if self.vgg16.dropout:  # the official code also drops of the last map itself
            five = nn.functional.dropout(five, self.vgg16.dropout, self.training)
        high = torch.cat(
            [self.cpfe_conv3_3(three), _larger(self.cpfe_conv4_3(four), 2), _larger(self.cpfe_conv5_3(five), 4)], dim=1
        )
        attention = self.cha_att(high)
        high = _larger(self.hl_bn1(self.hl_conv1(high * attention[:, :, None, None])).relu(), 4)
        low = torch.cat(
            [self.ll_bn_1(self.ll_conv_1(one)).relu(), _larger(self.ll_bn_2(self.ll_conv_2(two)).relu(), 2)], dim=1
        )
        low = self.ll_bn_3(self.ll_conv_3(low)).relu() * self.spa_att(high)
        return self.ff_conv_1(torch.cat([low, high], dim=1)), attention

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Edge-preserving loss and mean channel attention; the batch holds `image` and `mask` (B, 1, H, W) in [0, 1]."""
        logits, attention = self._logits(batch["image"])
        weights = self.options.edge_weight, self.options.positive_weight
        return edge_preserving_loss(logits, batch["mask"], *weights) | {"attention": attention.float().mean()}


def _larger(features: Tensor, factor: int) -> Tensor:
    return interpolate(features, scale_factor=factor, mode="bilinear", align_corners=True)


def edge_preserving_loss(
    logits: Tensor, masks: Tensor, edge_weight: float = 0.3, positive_weight: float = 1.12
) -> dict[str, Tensor]:
    """Weighted cross entropy of the maps and cross entropy of their edges (PFAN), to be summed.

    Args:
        logits, masks: (B, 1, H, W), masks in [0, 1].
        edge_weight: of the loss on edges; the loss on maps has the rest.
        positive_weight: of foreground beside background; 1.12 in the published code.
    """
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.float()
        positive, negative = nn.functional.logsigmoid(logits), nn.functional.logsigmoid(-logits)
        saliency = -(positive_weight * masks * positive + (1 - masks) * negative).mean()
        edge = binary_cross_entropy(edges(logits.sigmoid()), edges(masks))
    return {"saliency": (1 - edge_weight) * saliency, "edge": edge_weight * edge}


def edges(maps: Tensor) -> Tensor:
    """Positive part of the hyperbolic tangent of the Laplacian over eight neighbours; what lies outside counts as 0."""
    return (9 * maps - 9 * avg_pool2d(maps, 3, 1, 1)).tanh().relu()
