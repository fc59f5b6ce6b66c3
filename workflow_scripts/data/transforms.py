"""Augmentation as pure functions of an image and a random generator, and the normalisation of pretrained networks.

Whatever goes with an image (saliency, label) is transformed with it: the parameters are drawn once and applied to both.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

MEAN = (0.485, 0.456, 0.406)  # of ImageNet, RGB in [0, 1]
STANDARD_DEVIATION = (0.229, 0.224, 0.225)


def normalise(image: np.ndarray) -> Tensor:
    """uint8 (H, W, 3) RGB -> float32 (3, H, W), ImageNet mean 0 and standard deviation 1."""
    tensor = torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1).float().div_(255)
    return (tensor - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STANDARD_DEVIATION)[:, None, None]


def as_tensor(array: np.ndarray) -> Tensor:
    """A tensor of a copy: torch refuses mirrored arrays, and numpy takes one that is a pixel wide for contiguous."""
    return torch.from_numpy(array.copy())


def resized(image: np.ndarray, height: int, width: int, nearest: bool = False, linear: bool = False) -> np.ndarray:
    """Resize uint8 (H, W[, 3]) by Pillow: bicubic or bilinear with antialiasing, or nearest for labels."""
    if image.shape[:2] == (height, width):
        return image
    sampling = Image.NEAREST if nearest else Image.BILINEAR if linear else Image.BICUBIC
    return np.array(Image.fromarray(image).resize((width, height), sampling))


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Size at a test scale; halves round to even, as in the published code (97 * 0.5 -> 48)."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def fitted_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Size with the long side at `side` pixels, the shape kept."""
    scale = side / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


@dataclass(frozen=True)
class Placement:
    """Where a resized image and the square training crop overlap: the crop's canvas and the image's pixels."""

    canvas: tuple[slice, slice]
    source: tuple[slice, slice]


def place(height: int, width: int, crop: int, rng: np.random.Generator) -> Placement:
    """Random crop; an image smaller than the crop goes to a random place on an empty canvas (PSA and EPS code)."""
    slices = []
    for side in (height, width):
        space = side - crop
        offset = int(rng.integers(abs(space) + 1))
        length = min(side, crop)
        slices.append(
            (slice(0, crop), slice(offset, offset + crop))
            if space >= 0
            else (slice(offset, offset + length), slice(0, length))
        )
    return Placement((slices[0][0], slices[1][0]), (slices[0][1], slices[1][1]))


def _aligned(side: int, align_to: int) -> int:
    return max(1, round((side - 1) / align_to)) * align_to + 1


def multi_scale(
    image: np.ndarray, scales: tuple[float, ...], flip: bool, align_to: int | None = None, side: int | None = None
):
    """Yield (1, 3, h, w) normalised tensors of an image at every scale and whether each is mirrored.

    At scale 1 the image has its own size or, where `side` is given, is stretched to a square of that side. `align_to`
    rounds both sides to a multiple of it plus 1, so that the first and last cells of a feature map of that stride lie on
    the first and last pixels.
    """
    height, width = (side, side) if side else image.shape[:2]
    for scale in scales:
        size = scaled_size(height, width, scale)
        if align_to:
            size = (_aligned(size[0], align_to), _aligned(size[1], align_to))
        tensor = normalise(resized(image, *size))[None]
        yield tensor, False
        if flip:
            yield tensor.flip(-1), True


def resize_maps(maps: Tensor, height: int, width: int, align_corners: bool = False, mode: str = "bilinear") -> Tensor:
    """(B, C, h, w) -> (B, C, height, width), bilinear or bicubic (which overshoots)."""
    return interpolate(maps, size=(height, width), mode=mode, align_corners=align_corners)


def normalise_maps(maps: Tensor, eps: float = 1e-5) -> Tensor:
    """Divide every map by its own maximum over the positions: A / (max A + eps).

    The minimum is not subtracted, so that 0 stays 0 and an empty map stays empty.

    Args:
        maps: (..., H, W), >= 0.
        eps: keeps an empty map finite; 1e-5 is the value of the published AffinityNet and EPS code.

    Returns:
        The shape of `maps`, in [0, 1).
    """
    return maps / (torch.amax(maps, dim=(-2, -1), keepdim=True) + eps)
