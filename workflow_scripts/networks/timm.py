"""Any network of timm (PyTorch Image Models) by its name, as a backbone."""

import contextlib
import difflib
import math
import os
import re
from typing import Annotated, Literal

import timm
import torch
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import pad

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.config.types import parts
from workflow_scripts.data.transforms import MEAN, STANDARD_DEVIATION
from workflow_scripts.networks.backbone import FeaturePyramid


def _model_of_timm(model: str) -> str:
    """A model that timm has, or any name where timm is not there to say.

    Its networks are read off its source, since to import it takes seconds. The job checks the tag of the weights.
    """
    from importlib.util import find_spec
    from pathlib import Path

    found = find_spec("timm")
    if found is None or found.origin is None:
        return model
    marked = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
    sources = [path.read_text(encoding="utf-8") for path in Path(found.origin).parent.glob("models/*.py")]
    known = {name for source in sources for name in marked.findall(source)}
    if (name := model.partition(".")[0]) not in known:
        raise ValueError(f"timm has no model {name!r}, {parts.nearest(name, known)}")
    return model


class Timm(parts.Backbone):
    name: Literal["timm"]
    model: Annotated[str, Field(pattern=r"^\w+(\.\w+)?$"), AfterValidator(_model_of_timm)] = Field(
        description="any that timm lists, best with the tag of its weights: resnet50.a1_in1k"
    )
    stride: PositiveInt = Field(  # type: ignore[assignment]
        description="pixels per feature cell; reached by dilation where timm can, else the model ends at its last map that has it"
    )
    frozen_stages: NonNegativeInt = Field(
        description="feature maps of the model, as timm lists them, up to which it is not trained"
    )

    def packages(self) -> dict[str, str]:
        return {"timm": "pip install -r requirements.txt"}

    def imagenet(self) -> parts.File:
        """The model's folder in the cache of the hub that timm's weights are on."""
        cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
        cache = os.environ.get("HF_HUB_CACHE", f"{os.environ.get('HF_HOME', f'{cache}/huggingface')}/hub")
        path = os.path.expanduser(f"{cache}/models--timm--{self.model}")
        return parts.File("weights", path, f"https://huggingface.co/timm/{self.model}", is_fetched=True)


TRIED = (97, 130)  # sides of the image that a new network is tried on; no stride divides them
HUB = "https://huggingface.co"


class Backbone(FeaturePyramid):
    """(B, 3, H, W) -> (B, channels, ceil(H / stride), ceil(W / stride)): the model's deepest feature map of that stride.

    Its weights expect colours normalised in their own way, which it does itself. The stages that `frozen_stages` counts
    are those that end at a feature map, as timm lists them.

    Args:
        model: its name, with or without the tag of its weights: `resnet50.a1_in1k`.
        stride: pixels per cell. Models that timm can dilate reach it so; others end at the last map that has it.

    Raises:
        UserError: timm has no such model, the model has no such stride or too few stages, or its images have one size.
    """

    renames = ((r"(?!model\.)", "model."),)  # timm's files have the bare names

    def __init__(self, model: str, stride: int = 16, batch_norm: str = "frozen", frozen_stages: int = 0):
        super().__init__()
        self.name, self.stride = model, stride
        self.model, self.options = _create(model, stride)
        self.maps = [(found["reduction"], found["num_chs"]) for found in self.model.feature_info]
        strides = [reduction for reduction, _ in self.maps]
        if stride not in strides:
            known = ", ".join(map(str, sorted(set(strides))))
            raise UserError(f"config: backbone timm: {model} has no features of stride {stride}; set one of {known}")
        self.last = max(place for place, found in enumerate(strides) if found == stride)
        self.channels, self.multiple = self.maps[self.last][1], 1
        whole = set(self.model.state_dict())
        self.model.prune_intermediate_layers([self.last], prune_head=True)
        self.ignored = tuple(f"model.{name}" for name in sorted(whole - set(self.model.state_dict())))
        self._normalise(self.model.pretrained_cfg["mean"], self.model.pretrained_cfg["std"])
        if frozen_stages > self.last + 1:
            raise UserError(
                f"config: backbone timm: {model} has {self.last + 1} stages at stride {stride}, found frozen_stages "
                f"{frozen_stages}; set fewer"
            )
        self._keep(frozen_stages, batch_norm, max(strides))

    def _normalise(self, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        """How colours become those of the weights, from those of the readers."""
        scale = [ours / theirs for ours, theirs in zip(STANDARD_DEVIATION, deviation, strict=True)]
        shift = [(ours - theirs) / over for ours, theirs, over in zip(MEAN, mean, deviation, strict=True)]
        self.own_colours = (tuple(mean), tuple(deviation)) != (MEAN, STANDARD_DEVIATION)
        self.register_buffer("scale", torch.tensor(scale)[:, None, None], persistent=False)
        self.register_buffer("shift", torch.tensor(shift)[:, None, None], persistent=False)

    @torch.enable_grad()
    def _keep(self, frozen_stages: int, batch_norm: str, coarsest: int) -> None:
        """Train what the last map is made with, but not what the last frozen stage is, which a trial shows.

        Images are filled up to a multiple of the coarsest stride if the network does not take those of other sides.
        """
        levels = [*([frozen_stages - 1] if 0 < frozen_stages <= self.last else []), self.last]
        parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.eval()
        for self.multiple in (1, coarsest):
            try:
                *first, last = self._features(torch.zeros(1, 3, *TRIED), levels)
                break
            except Exception as error:  # of any kind, by what the network computes with
                reason = one_line(error)
        else:
            raise UserError(
                f"config: backbone timm: {self.name} does not take images of any size ({reason}); name another model"
            )
        used, frozen = _parts(last, parameters), [frozen_stages > self.last] * len(parameters)
        for features in first:
            frozen = _parts(features, parameters)
        for parameter, has_part, is_frozen in zip(parameters, used, frozen, strict=True):
            parameter.requires_grad_(has_part and not is_frozen)
        norms = [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        still = [norm for norm in norms if norm.affine and not norm.weight.requires_grad]
        self.freeze([], 0, batch_norm)
        if batch_norm == "trained":
            self.kept = still
        self.train()

    def _features(self, images: Tensor, levels) -> list[Tensor]:
        """Feature maps by their places in the model's list, each cut to the cells of the images."""
        height, width = images.shape[-2:]
        if self.own_colours:
            images = images * self.scale + self.shift
        images = pad(images, (0, -width % self.multiple, 0, -height % self.multiple))
        found = self.model.forward_intermediates(
            images, indices=list(levels), norm=True, output_fmt="NCHW", intermediates_only=True
        )
        cut = []
        for level, features in zip(levels, found, strict=True):
            stride, channels = self.maps[level]
            size = math.ceil(height / stride), math.ceil(width / stride)
            features = features[..., : size[0], : size[1]]
            if features.shape[1:] != (channels, *size):
                raise ValueError(f"map {level} is {tuple(features.shape[1:])}, not {(channels, *size)}")
            cut.append(features)
        return cut

    def forward(self, images: Tensor) -> Tensor:
        return self._features(images, [self.last])[0]

    @property
    def pyramid_levels(self) -> list[int]:
        """The five maps, from stride 2 on, in the model's list."""
        levels = [level for level, (stride, _) in enumerate(self.maps[: self.last + 1]) if stride >= 2]
        if [self.maps[level][0] for level in levels] != list(self.pyramid_strides):
            raise UserError(
                f"config: backbone timm: {self.name} has no five maps of strides {self.pyramid_strides}, which this network "
                "joins; name another model, a ResNet say"
            )
        return levels

    @property
    def pyramid_channels(self) -> tuple[int, ...]:
        return tuple(self.maps[level][1] for level in self.pyramid_levels)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Five feature maps of rising depth, from stride 2 on."""
        return self._features(images, self.pyramid_levels)

    def imagenet(self) -> dict[str, Tensor]:
        """The weights that timm names for the model, fetched from its hub on first use."""
        try:
            return timm.create_model(self.name, pretrained=True, **self.options).state_dict()
        except Exception as error:  # of the connection, or the file; or there are none
            page = f"{HUB}/{self.model.pretrained_cfg.get('hf_hub_id') or 'timm'}"
            raise UserError(
                f"initial: imagenet: timm's weights of {self.name} cannot be had ({one_line(error)}); connect this machine, or set "
                f"the block's initial to the path of a copy of model.safetensors, see {page}, or to random"
            ) from None


def _parts(features: Tensor, parameters: list[nn.Parameter]) -> list[bool]:
    """Which parameters have a part in features."""
    gradients = torch.autograd.grad(features.sum(), parameters, retain_graph=True, allow_unused=True)
    return [gradient is not None for gradient in gradients]


def _create(model: str, stride: int) -> tuple[nn.Module, dict]:
    """A model without weights, and the options that it was made with: dilated, or for images of any size, where it can be."""
    name, _, tag = model.partition(".")
    if not timm.is_model(name):
        raise UserError(f"config: backbone timm: timm has no model {model!r}{_near(name, timm.list_models())}")
    tags = [found for found in timm.list_pretrained(f"{name}.*") if found.partition(".")[0] == name]
    if tag and model not in tags:
        raise UserError(f"config: backbone timm: timm has no weights {model!r}{_near(model, tags)}")
    for options in ({"output_stride": stride}, {"dynamic_img_size": True}, {"strict_img_size": False}):
        with contextlib.suppress(TypeError, AssertionError, NotImplementedError):  # how its networks refuse an option
            return timm.create_model(model, **options), options
    return timm.create_model(model), {}


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known[:3]
    return f", it has {', '.join(near)}; correct it" if near else "; name it without a tag"
