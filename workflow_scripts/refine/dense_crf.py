"""Fully connected conditional random field (Krähenbühl and Koltun, NeurIPS 2011), by the pydensecrf library."""

import numpy as np
from pydensecrf import densecrf


def dense_crf(
    image: np.ndarray,
    probabilities: np.ndarray,
    bilateral: tuple[float, float, float] = (80, 13, 10),
    gaussian: tuple[float, float] = (3, 3),
    iterations: int = 10,
) -> np.ndarray:
    """Sharpen label probabilities so that they follow the edges of the image.

    The unary energy is -ln(p) with p clipped to [1e-5, 1], the pairwise energies are Potts models, and the posterior
    is that of `iterations` mean-field steps. The probabilities of a pixel need not sum to 1: a scale per pixel only
    adds a constant to its energies. The default constants are those of AffinityNet (Ahn and Kwak, CVPR 2018) for CAMs.

    Args:
        image: (H, W, 3) uint8, the original photograph (RGB), never a normalised one.
        probabilities: (L, H, W) float, >= 0.
        bilateral: (sxy in pixels, srgb in grey levels, compatibility) of the appearance kernel.
        gaussian: (sxy in pixels, compatibility) of the smoothness kernel.
        iterations: mean-field steps.

    Returns:
        (L, H, W) float32 posterior, summing to 1 over labels.

    Raises:
        ValueError: the image is not uint8 (H, W, 3), or the probabilities are not (L, H, W) with L >= 1 and finite.
    """
    image, probabilities = np.asarray(image), np.asarray(probabilities)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
    if probabilities.ndim != 3 or not len(probabilities) or probabilities.shape[1:] != image.shape[:2]:
        raise ValueError(f"probabilities must be (L, {image.shape[0]}, {image.shape[1]}), not {probabilities.shape}")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities must be finite")
    labels, height, width = probabilities.shape
    # The library reads raw memory: C order, and writable (an image decoded by Pillow is not).
    image = np.require(image, requirements=["C", "W"])
    unary = -np.log(np.clip(probabilities, 1e-5, 1)).astype(np.float32).reshape(labels, -1)
    field = densecrf.DenseCRF2D(width, height, labels)
    field.setUnaryEnergy(np.ascontiguousarray(unary))
    gaussian_width, gaussian_compatibility = gaussian
    field.addPairwiseGaussian(sxy=gaussian_width, compat=gaussian_compatibility)
    bilateral_width, colour_width, bilateral_compatibility = bilateral
    field.addPairwiseBilateral(sxy=bilateral_width, srgb=colour_width, rgbim=image, compat=bilateral_compatibility)
    return np.array(field.inference(iterations), dtype=np.float32).reshape(labels, height, width)
