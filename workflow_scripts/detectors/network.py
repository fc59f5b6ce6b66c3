"""Saliency maps by a network: trained here on rendered images, a folder or other maps, or published."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn
from torch.nn.functional import interpolate

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.config.types.initial import Named
from workflow_scripts.config.types.parts import Name, Of, Sections
from workflow_scripts.config.types.saliency_blocks import AnyNetwork, Data, Detected, FolderData, Form, LearntSaliency
from workflow_scripts.data.checkpoints.saliency_weights import load_published
from workflow_scripts.data.checkpoints.weights import load_weights
from workflow_scripts.data.samples.salient_input import squared
from workflow_scripts.data.transforms import normalise
from workflow_scripts.training.device import device


class PublishedSaliency(Detected):
    detector: Literal["published"]
    network: AnyNetwork
    input: Form
    weights: Named = Field(description="of the whole network: a path, or {url, sha256}")

    @model_validator(mode="after")
    def _fits(self) -> "PublishedSaliency":
        self.network.check_side(self.input.side)
        return self

    def given_weights(self) -> Named:
        return self.weights


class NetworkSaliency(LearntSaliency):
    detector: Literal["network"]
    data: Data

    @model_validator(mode="after")
    def _squares(self) -> "NetworkSaliency":
        if self.input.side is None and isinstance(self.data, FolderData):
            raise ValueError("photographs of a folder differ in size, give input.side")
        return self


class DistilledSaliency(LearntSaliency):
    detector: Literal["distilled"]
    maps: Annotated[tuple[Annotated[Name, Of("saliency")], ...], Field(min_length=1)] = Field(
        description="saliency blocks whose mean is learned, on the training split"
    )
    binary: bool = Field(description="learn them cut at Otsu's threshold")

    def check(self, where: str, sections: Sections) -> None:
        """Refuse to learn from maps that are made by it, however far back."""

        def visit(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                raise UserError(
                    f"config: saliency.{path[0]}.maps: goes in a circle: {' -> '.join([*path, name])}; "
                    "begin with a detector that is not distilled"
                )
            for other in getattr(sections["saliency"][name], "maps", ()):
                visit(other, (*path, name))

        visit(where.rpartition(".")[2], ())


def build(options: SimpleNamespace) -> nn.Module:
    """The saliency network that a block names, weights random."""
    return plugin("networks", f"saliency_{options.name}").SaliencyNetwork(options)


def load(block: SimpleNamespace, weights: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function from an image, uint8 (H, W, 3) RGB, to its map, uint8 (H, W), by the network of the block.

    Args:
        weights: of `train_saliency`, or the published file where the detector is "published".
    """
    torch.set_num_threads(1)
    network = build(block.network)
    if block.detector == "published":
        load_published(network, weights)
    else:
        load_weights(network, weights)
    network.to(device()).eval()
    side, padding = block.input.side, block.input.padding

    @torch.inference_mode()
    def detect(image: np.ndarray) -> np.ndarray:
        if side is None:
            maps = network.maps(normalise(image)[None].to(device()))[0, 0]
        else:
            square = squared(image, side, padding)
            maps = network.maps(normalise(square.image)[None].to(device()))
            longest = max(image.shape[:2])
            maps = interpolate(maps.float(), size=(longest, longest), mode="bilinear", align_corners=False)
            maps = maps[0, 0][square.place]
        return (maps * 255).round().byte().cpu().numpy()

    return detect
