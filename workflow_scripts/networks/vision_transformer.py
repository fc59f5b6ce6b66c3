"""Vision transformer with several class tokens, in the layout of DeiT (Touvron et al., ICML 2021) as MCTformer uses it.

Layers bear the names of the published PyTorch checkpoints of both. The last layer normalisation of DeiT is not applied
(MCTformer's published code).
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import interpolate

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.config.types import transformers
from workflow_scripts.config.types.parts import Held


class VisionTransformer(transformers.Transformer):
    name: Literal["vision_transformer"]
    width: PositiveInt = Field(description="channels of a token; a multiple of heads")
    heads: PositiveInt = Field(description="of the attention")
    grid: PositiveInt = Field(description="patches along a side of the training crop, each with a position of its own")
    drop_path: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="share of the images for which a branch of the last layer is dropped in training, 0 in the first"
    )
    stem: Literal["linear", "tiny"] = Field(
        description="a linear layer over each patch, or a convolutional network whose cells are the patches"
    )

    @model_validator(mode="after")
    def _whole_heads(self) -> "VisionTransformer":
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} is no multiple of {self.heads} heads")
        if self.stem == "tiny" and self.patch not in (8, 16):
            raise ValueError(
                f"patch: stem 'tiny' has cells of 8 or 16 pixels, not {self.patch}; set one of these, or stem: linear"
            )
        return self

    def held(self, crop: int) -> Held:
        """Eighteen maps of a layer as wide as a token, and the attention of its heads."""
        tokens = (crop // self.patch) ** 2
        of_token = 4 * self.depth * (18 * self.width + self.heads * tokens)
        stem = 160 if self.stem == "tiny" else 0
        parameters = self.depth * 12 * self.width**2 + self.width * (tokens + 3 * self.patch**2)
        return Held(0.5 + parameters / 1e6, of_token / self.patch**2 + stem)


EPSILON = 1e-6  # of the layer normalisations; DeiT


class Tokens(NamedTuple):
    """What the transformer makes of images.

    Attributes:
        classes: (B, C, D), a token for each class.
        patches: (B, D, h, w), a token for each patch; h = H // patch, w = W // patch.
        attention: (layers, B, C + h w, C + h w), after the softmax, mean over heads, row = query, class tokens first;
            None unless asked for.
    """

    classes: Tensor
    patches: Tensor
    attention: Tensor | None


class Attention(nn.Module):
    """Self-attention of several heads; returns its weights too, which nobody needs to keep."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D) -> (B, T, D) and (B, heads, T, T)."""
        batch, count, width = tokens.shape
        parts = self.qkv(tokens).reshape(batch, count, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        weights = (queries @ keys.transpose(-2, -1) * self.scale).softmax(dim=-1)
        mixed = (weights.to(values.dtype) @ values).transpose(1, 2).reshape(batch, count, width)
        return self.proj(mixed), weights


class Mlp(nn.Module):
    """Two linear layers with a GELU between them, four times as wide inside."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(tokens)))


class Block(nn.Module):
    """Attention and MLP, each after a layer normalisation and beside a shortcut, dropped for `drop_path` of the images."""

    def __init__(self, width: int, heads: int, drop_path: float):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, EPSILON), Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, EPSILON), Mlp(width)
        self.drop_path = drop_path

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        mixed, weights = self.attn(self.norm1(tokens))
        tokens = tokens + self._dropped(mixed)
        return tokens + self._dropped(self.mlp(self.norm2(tokens))), weights

    def _dropped(self, branch: Tensor) -> Tensor:
        if not (self.training and self.drop_path):
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop_path
        return branch * kept.to(branch.dtype) / (1 - self.drop_path)


class PatchEmbedding(nn.Module):
    """One linear layer over each patch (DeiT)."""

    def __init__(self, patch: int, width: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(images)


class HybridEmbedding(nn.Module):
    """A convolutional network of stride `patch`, and a linear layer over each of its cells (Dosovitskiy et al., ICLR 2021)."""

    def __init__(self, network: str, patch: int, width: int):
        super().__init__()
        self.features = plugin("networks", network).Backbone(stride=patch)
        self.proj = nn.Conv2d(self.features.channels, width, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(self.features(images))


class Backbone(nn.Module):
    """(B, 3, H, W) -> `Tokens`; what is left over of a side that is no multiple of `patch` is not seen (`positions` knows it).

    Args:
        patch: side of a patch, pixels; a power of two for the convolutional stem.
        width: D, channels of a token.
        depth: layers.
        heads: of the attention.
        grid: patches along a side of the training crop; positions are learnt for grid x grid patches.
        drop_path: share of images for which a branch is dropped in training, rising linearly from 0 to this in the last layer.
        stem: "linear", a layer over each patch; or the name of a network whose cells are the patches.
    """

    ignored = ("norm.", "head.")
    renames = ()

    def __init__(
        self,
        patch: int = 16,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        grid: int = 14,
        drop_path: float = 0.0,
        stem: str = "linear",
    ):
        super().__init__()
        self.stride, self.channels, self.grid = patch, width, grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed_cls = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed_pat = nn.Parameter(torch.zeros(1, grid * grid, width))
        self.patch_embed = PatchEmbedding(patch, width) if stem == "linear" else HybridEmbedding(stem, patch, width)
        rates = [drop_path * layer / max(1, depth - 1) for layer in range(depth)]
        self.blocks = nn.ModuleList(Block(width, heads, rate) for rate in rates)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        self.set_classes(1)
        nn.init.trunc_normal_(self.pos_embed_pat, std=0.02)

    def set_classes(self, classes: int) -> None:
        """Give it so many class tokens; with weights of DeiT they start as copies of its one (MCTformer)."""
        self.cls_token, self.pos_embed_cls = (
            nn.Parameter(nn.init.trunc_normal_(torch.empty(1, classes, self.channels), std=0.02)) for _ in range(2)
        )

    def undecayed_parameters(self) -> list[nn.Parameter]:
        """Tokens and positions, which no weight decay pulls to zero (DeiT)."""
        return [self.cls_token, self.pos_embed_cls, self.pos_embed_pat]

    def forward(self, images: Tensor, attention: bool = False) -> Tensor:
        height, width = (side // self.stride for side in images.shape[-2:])
        square = images.shape[-2] == images.shape[-1]
        if not height or not width:
            raise UserError(
                f"an image of {images.shape[-2]} x {images.shape[-1]} pixels is smaller than a patch of {self.stride}; "
                "leave it out or use larger test scales"
            )
        embedded = self.patch_embed(images[..., : height * self.stride, : width * self.stride])
        patches = embedded.flatten(2).transpose(1, 2) + self.positions(height, width, square)
        classes = (self.cls_token + self.pos_embed_cls).expand(len(images), -1, -1)
        tokens, layers = torch.cat([classes, patches.to(classes.dtype)], dim=1), []
        for block in self.blocks:
            tokens, weights = block(tokens)
            if attention:
                layers.append(weights.float().mean(dim=1))
            del weights
        count = self.cls_token.shape[1]
        patches = tokens[:, count:].transpose(1, 2).unflatten(2, (height, width))
        return Tokens(tokens[:, :count], patches, torch.stack(layers) if attention else None)

    def positions(self, height: int, width: int, square: bool = True) -> Tensor:
        """Positions of height x width patches, (1, height width, D).

        The table as it is where it has as many and the image is as high as it is wide, in pixels. Else it is resized,
        bicubic, by scale factors of a tenth of a patch more: the published code (DINO's and MCTformer's) gives factors,
        not the size, so other points are sampled, also for an image whose patches, but not pixels, are a square.
        """
        if square and height == width == self.grid:
            return self.pos_embed_pat
        grid = self.pos_embed_pat.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        factors = ((height + 0.1) / self.grid, (width + 0.1) / self.grid)
        return interpolate(grid, scale_factor=factors, mode="bicubic").flatten(2).transpose(1, 2)

    @staticmethod
    def own_layout(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
        """A checkpoint with its one table `pos_embed` parted into those of the class tokens and of the patches.

        DeiT and MCTformer's V1 and V2 have one table. Its first rows are those of the class tokens, as many as `cls_token`
        has: one, or one a class. MCTformer+ and this project have two tables.

        Args:
            state: of a backbone or of a whole network; names may bear a prefix.
            source: where it is from, for the log.
        """
        state = dict(state)
        for name in [name for name in state if name.rpartition(".")[2] == "pos_embed"]:
            prefix, positions = name.removesuffix("pos_embed"), state[name]
            tokens = state.get(f"{prefix}cls_token")
            if f"{prefix}pos_embed_pat" in state:  # of the network that MCTformer+ is derived from
                print(
                    f"{source}: {name}: left out, as the checkpoint has two tables of positions beside it", flush=True
                )
                del state[name]
            elif tokens is not None and tokens.ndim == positions.ndim == 3:  # else it stays, and is told as unknown
                parts = positions.tensor_split([tokens.shape[1]], dim=1)
                state[f"{prefix}pos_embed_cls"], state[f"{prefix}pos_embed_pat"] = parts
                del state[name]
        return state

    def adapted(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """State dict of another network, in this one's layout, made to fit.

        Of a transformer with one class token, DeiT's, the token and its position are repeated for every class, and
        positions resized to this network's grid, bicubic (MCTformer). Of the network of a hybrid's stem, the rest stays
        as it is here.
        """
        stem = getattr(self.patch_embed, "features", None)
        if stem is not None and state.keys() & stem.state_dict().keys():
            return self.state_dict() | {f"patch_embed.features.{name}": value for name, value in state.items()}
        state = dict(state)
        classes = self.cls_token.shape[1]
        for name in ("cls_token", "pos_embed_cls"):
            if name in state and state[name].ndim == 3 and state[name].shape[1] == 1:
                state[name] = state[name].repeat(1, classes, 1)
        patches: Any = state.get("pos_embed_pat")
        side = 0 if patches is None or patches.ndim != 3 else math.isqrt(patches.shape[1])
        if side and side != self.grid and side * side == patches.shape[1]:
            grid = patches.transpose(1, 2).unflatten(2, (side, side))
            resized = interpolate(grid, size=(self.grid, self.grid), mode="bicubic")
            state["pos_embed_pat"] = resized.flatten(2).transpose(1, 2)
        return state

    def imagenet(self) -> dict[str, Tensor]:
        raise UserError(
            "config: torchvision has no ImageNet weights of vision_transformer; name the file of DeiT's under initial"
        )
