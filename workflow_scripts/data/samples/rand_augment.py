"""RandAugment (Cubuk et al., 2020) in timm's "increasing" form, which DeiT and MCTformer train with.

Fifteen operations of Pillow whose effect grows with the strength; in torchvision's form several do not, and strength and
application are not drawn.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

FULL = 10.0  # the greatest strength
FILL = (124, 116, 104)  # mean colour of ImageNet, where an image is moved away

Operation = Callable[[Image.Image, float, float], Image.Image]  # image, strength in [0, 1], sign


def _enhanced(kind: type) -> Operation:
    return lambda image, strength, sign: kind(image).enhance(max(0.1, 1 + 0.9 * strength * sign))


def _moved(*coefficients: Callable[[Image.Image, float], float]) -> Operation:
    def operation(image: Image.Image, strength: float, sign: float) -> Image.Image:
        matrix = [coefficient(image, strength * sign) for coefficient in coefficients]
        return image.transform(image.size, Image.AFFINE, matrix, resample=Image.BICUBIC, fillcolor=FILL)

    return operation


def _fixed(value: float) -> Callable[[Image.Image, float], float]:
    return lambda image, amount: value


def _solarized_add(image: Image.Image, strength: float, sign: float) -> Image.Image:
    added = min(128, int(strength * 110))
    table = [min(255, value + added) if value < 128 else value for value in range(256)]
    return image.point(table * 3)


def _rotated(image: Image.Image, strength: float, sign: float) -> Image.Image:
    return image.rotate(30 * strength * sign, resample=Image.BICUBIC, fillcolor=FILL)


ZERO, ONE = _fixed(0), _fixed(1)
OPERATIONS: tuple[Operation, ...] = (
    lambda image, strength, sign: ImageOps.autocontrast(image),
    lambda image, strength, sign: ImageOps.equalize(image),
    lambda image, strength, sign: ImageOps.invert(image),
    _rotated,
    lambda image, strength, sign: _posterized(image, 4 - int(4 * strength)),
    lambda image, strength, sign: ImageOps.solarize(image, 256 - min(256, int(256 * strength))),
    _solarized_add,
    _enhanced(ImageEnhance.Color),
    _enhanced(ImageEnhance.Contrast),
    _enhanced(ImageEnhance.Brightness),
    _enhanced(ImageEnhance.Sharpness),
    _moved(ONE, lambda image, amount: 0.3 * amount, ZERO, ZERO, ONE, ZERO),  # sheared
    _moved(ONE, ZERO, ZERO, lambda image, amount: 0.3 * amount, ONE, ZERO),
    _moved(ONE, ZERO, lambda image, amount: 0.45 * amount * image.width, ZERO, ONE, ZERO),  # shifted
    _moved(ONE, ZERO, ZERO, ZERO, ONE, lambda image, amount: 0.45 * amount * image.height),
)


def _posterized(image: Image.Image, bits: int) -> Image.Image:
    """Only the highest bits of each value; black with none."""
    mask = 256 - (1 << (8 - bits))
    return image.point([value & mask for value in range(256)] * 3)


def rand_augment(image: np.ndarray, options, rng: np.random.Generator) -> np.ndarray:
    """Draw operations and apply each with the given probability at a strength drawn from a normal distribution.

    Args:
        image: uint8 (H, W, 3).
        options: `operations`, drawn with replacement; `probability`; `magnitude` and `deviation` of the strength, out of 10.

    Returns:
        uint8 (H, W, 3).
    """
    picture = Image.fromarray(image)
    for number in rng.integers(len(OPERATIONS), size=options.operations):
        applied, sign = rng.random() < options.probability, 1.0 if rng.random() < 0.5 else -1.0
        strength = float(np.clip(rng.normal(options.magnitude, options.deviation), 0, FULL)) / FULL
        if applied:
            picture = OPERATIONS[number](picture, strength, sign)
    return np.asarray(picture)
