"""The copies of an image that a segmentation network is tested on, resized in one of three ways."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
from torch import Tensor
from torch.nn.functional import interpolate

from workflow_scripts.data import transforms


def copies(image: np.ndarray, options: SimpleNamespace, stride: int) -> Iterator[tuple[Tensor, bool]]:
    """Yield normalised tensors (1, 3, h, w) of an image at every scale, and whether each is mirrored.

    Args:
        image: uint8 (H, W, 3) RGB.
        options: `scales`; `flip`; `resize`: "antialiased", the image by Pillow, bicubic, sides rounded, with
            `align_corners` to a multiple of the stride plus 1 (ours); "bilinear" or "bilinear_corners", as `scaled`.
        stride: of the network, pixels per cell.
    """
    if options.resize == "antialiased":
        align_to = stride if options.align_corners else None
        yield from transforms.multi_scale(image, options.scales, options.flip, align_to)
        return
    whole = transforms.normalise(image)[None]
    for scale in options.scales:
        copy = scaled(whole, scale, options.resize == "bilinear_corners")
        yield copy, False
        if options.flip:
            yield copy.flip(-1), True


def scaled(images: Tensor, scale: float, align_corners: bool) -> Tensor:
    """Normalised images at another scale as the published code has them: bilinear, without antialiasing.

    A smaller copy so skips pixels of a fine texture.

    Args:
        images: (B, 3, H, W).
        scale: of the sides, which are rounded down, to 1 pixel at least.
        align_corners: the corners of copy and image are the same pixels (BANA's and MCTformer's code); otherwise a pixel of
            the copy is 1 / scale pixels wide, whatever the rounding (deeplab-pytorch).

    Returns:
        (B, 3, h, w).
    """
    height, width = (int(side * scale) for side in images.shape[-2:])
    if align_corners or not height or not width:
        size = max(1, height), max(1, width)
        return interpolate(images, size=size, mode="bilinear", align_corners=align_corners)
    return interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
