"""Training samples of transformers: crops of random area and shape (Szegedy et al., CVPR 2015), RandAugment, erased rectangles."""

import math

import numpy as np
import torch
from PIL import Image

from workflow_scripts.data import transforms
from workflow_scripts.data.samples.image_samples import ImageSamples
from workflow_scripts.data.samples.rand_augment import rand_augment

ATTEMPTS = 10  # to find a rectangle inside the image; timm, torchvision
ERASED_AREA, ERASED_ASPECT = (0.02, 1 / 3), (0.3, 1 / 0.3)  # of the crop; Zhong et al., AAAI 2020, as in timm


class Samples(ImageSamples):
    """Image and image-level labels. A sample is a pure function of (seed, epoch, image)."""

    def sample(self, identifier: str, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        image, recipe = self.images.read(identifier), self.recipe
        height, width = image.shape[:2]
        left, top, width, height = random_rectangle(height, width, recipe.area, recipe.aspect, rng)
        side, box = (recipe.crop, recipe.crop), (left, top, left + width, top + height)
        image = np.asarray(Image.fromarray(image).resize(side, Image.BICUBIC, box=box))
        if rng.random() < 0.5:
            image = image[:, ::-1]
        if recipe.rand_augment:
            image = rand_augment(np.ascontiguousarray(image), recipe.rand_augment, rng)
        tensor = transforms.normalise(image)
        if rng.random() < recipe.erasing:
            erase(tensor, rng)
        labels = torch.from_numpy(self.index.labels[self.index.row[identifier]]).float()
        return {"image": tensor, "labels": labels}


def random_rectangle(
    height: int, width: int, area: tuple[float, float], aspect: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Left, top, width and height of a random rectangle inside an image, in pixels.

    Args:
        area: range of its share of the image's, uniform.
        aspect: range of width over height, uniform in the logarithm. Where none fits in ten attempts, the largest one
            in the middle whose aspect is in this range.
    """
    logarithms = math.log(aspect[0]), math.log(aspect[1])
    for _ in range(ATTEMPTS):
        surface, ratio = height * width * rng.uniform(*area), math.exp(rng.uniform(*logarithms))
        across, down = round(math.sqrt(surface * ratio)), round(math.sqrt(surface / ratio))
        if 0 < across <= width and 0 < down <= height:
            return int(rng.integers(width - across + 1)), int(rng.integers(height - down + 1)), across, down
    ratio = min(max(width / height, aspect[0]), aspect[1])
    across, down = min(width, max(1, round(height * ratio))), min(height, max(1, round(width / ratio)))
    return (width - across) // 2, (height - down) // 2, across, down


def erase(tensor: torch.Tensor, rng: np.random.Generator) -> None:
    """Fill a random rectangle of a normalised crop (3, H, W) with normal noise, in place; none if none fits."""
    height, width = tensor.shape[-2:]
    logarithms = math.log(ERASED_ASPECT[0]), math.log(ERASED_ASPECT[1])
    for _ in range(ATTEMPTS):
        surface, ratio = height * width * rng.uniform(*ERASED_AREA), math.exp(rng.uniform(*logarithms))
        down, across = round(math.sqrt(surface * ratio)), round(math.sqrt(surface / ratio))
        if 0 < across < width and 0 < down < height:
            top, left = int(rng.integers(height - down + 1)), int(rng.integers(width - across + 1))
            noise = rng.standard_normal((3, down, across), np.float32)
            tensor[:, top : top + down, left : left + across] = torch.from_numpy(noise)
            return
