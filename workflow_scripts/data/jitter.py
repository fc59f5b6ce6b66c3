"""Colour jitter. On its own, so that only what trains imports torchvision."""

import numpy as np
from PIL import Image
from torchvision.transforms import functional


def jitter_colours(image: np.ndarray, amounts, rng: np.random.Generator) -> np.ndarray:
    """Colour jitter of torchvision with parameters drawn from `rng`: brightness, contrast, saturation, hue in random order."""
    picture = Image.fromarray(image)
    adjust = {
        "brightness": functional.adjust_brightness,
        "contrast": functional.adjust_contrast,
        "saturation": functional.adjust_saturation,
        "hue": functional.adjust_hue,
    }
    for name in rng.permutation(list(adjust)):
        amount = getattr(amounts, name)
        if amount:
            centre = 0.0 if name == "hue" else 1.0
            factor = rng.uniform(max(centre - amount, -0.5 if name == "hue" else 0.0), centre + amount)
            picture = adjust[name](picture, factor)
    return np.asarray(picture)
