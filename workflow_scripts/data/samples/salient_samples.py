"""Training samples of saliency networks: an image and its map, from whatever source. Pure functions of (seed, epoch, image)."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from workflow_scripts.data.samples.batches import generator
from workflow_scripts.data.samples.salient_input import squared, squared_map
from workflow_scripts.data.transforms import as_tensor, normalise


class Source(Protocol):
    """Images and the maps to learn from them, in an order that does not change."""

    names: Sequence[str]

    def read(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Image, uint8 (H, W, 3) RGB, and map, uint8 (H, W), 255 on what is salient."""


class SalientSamples(Dataset):
    """Image and map, mirrored half of the time and otherwise changed as the recipe says, then padded to a square.

    Args:
        form: `side` of the square in pixels, None where all images have one size already; `padding`.
        recipe: `crop`, `rotation`, `contrast` and `light`, each the most that it may be; 0 is off.
    """

    def __init__(self, source: Source, form: SimpleNamespace, recipe: SimpleNamespace, seed: int):
        self.source, self.form, self.recipe, self.seed = source, form, recipe, seed

    def __len__(self) -> int:
        return len(self.source.names)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        """`image` (3, h, w), `mask` (1, h, w) in [0, 1], and `valid` (1, h, w), 1 on the image and 0 on padding."""
        epoch, position = key
        image, saliency = self.source.read(position)
        rng = generator(self.seed, epoch, self.source.names[position])
        if rng.random() < 0.5:
            image, saliency = image[:, ::-1], saliency[:, ::-1]
        image, saliency = augmented(image, saliency, self.recipe, rng)
        valid = np.ones(saliency.shape, np.uint8)
        if self.form.side is not None:
            valid = squared_map(valid, self.form.side, nearest=True)
            image = squared(image, self.form.side, self.form.padding).image
            saliency = squared_map(saliency, self.form.side)
        mask = as_tensor(saliency).float()[None] / 255
        return {"image": normalise(image), "mask": mask, "valid": torch.from_numpy(valid).float()[None]}


def augmented(
    image: np.ndarray, saliency: np.ndarray, recipe: SimpleNamespace, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Random crop and rotation of both, contrast and light of the image (PFAN's published code); 0 draws nothing.

    What a rotation turns in from outside is black and not salient.
    """
    if recipe.crop:
        slices = []
        for side in saliency.shape:
            less = int(rng.integers(int(side * recipe.crop) + 1))
            start = int(rng.integers(less + 1))
            slices.append(slice(start, start + side - less))
        image, saliency = image[tuple(slices)], saliency[tuple(slices)]
    if recipe.rotation:
        angle = rng.uniform(-recipe.rotation, recipe.rotation)
        image, saliency = (
            np.asarray(Image.fromarray(np.ascontiguousarray(array)).rotate(angle, Image.BILINEAR))
            for array in (image, saliency)
        )
    if recipe.contrast or recipe.light:
        factor = rng.uniform(1 - recipe.contrast, 1 + recipe.contrast)
        image = np.clip(image * factor + rng.uniform(-recipe.light, recipe.light), 0, 255).round().astype(np.uint8)
    return image, saliency
