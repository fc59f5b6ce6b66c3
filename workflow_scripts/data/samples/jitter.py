"""Colour jitter of torchvision, drawn first and applied later. On its own, so that only what trains imports torchvision."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional

ADJUSTMENTS = {
    "brightness": functional.adjust_brightness,
    "contrast": functional.adjust_contrast,
    "saturation": functional.adjust_saturation,
    "hue": functional.adjust_hue,
}
NAMES = tuple(ADJUSTMENTS)

Steps = Sequence[tuple[int, float]]  # adjustments by their number in NAMES, each with its factor


def draw_jitter(amounts, rng: np.random.Generator) -> Steps:
    """Brightness, contrast, saturation and hue in random order with random factors; those of amount 0 are left out."""
    steps = []
    for name in rng.permutation(list(NAMES)):
        amount = getattr(amounts, name)
        if amount:
            centre = 0.0 if name == "hue" else 1.0
            factor = rng.uniform(max(centre - amount, -0.5 if name == "hue" else 0.0), centre + amount)
            steps.append((NAMES.index(name), factor))
    return steps


def jitter_colours(image: np.ndarray, steps: Steps) -> np.ndarray:
    """uint8 (H, W, 3) RGB by Pillow, rounded after every step as in the published codes."""
    return np.asarray(adjusted(Image.fromarray(image), steps))


def adjusted(picture: Image.Image | Tensor, steps: Steps) -> Image.Image | Tensor:
    """A Pillow image, or float32 (3, H, W) in [0, 1], after the steps; contrast is about the mean of what is given."""
    for number, factor in steps:
        picture = ADJUSTMENTS[NAMES[number]](picture, factor)
    return picture
