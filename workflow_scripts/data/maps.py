"""Soft maps and label maps: sizes, maxima, and from the ones to the others."""

from collections.abc import Mapping

import numpy as np
from PIL import Image


def stored_size(height: int, width: int, resolution: int) -> tuple[int, int]:
    """Size of a map stored at one cell per `resolution` image pixels."""
    return -(-height // resolution), -(-width // resolution)


def upsampled(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear (K, h, w) -> float32 (K, height, width), corners not aligned."""
    layers = [Image.fromarray(layer).resize((width, height), Image.BILINEAR) for layer in maps.astype(np.float32)]
    return np.stack([np.asarray(layer) for layer in layers]) if layers else np.zeros((0, height, width), np.float32)


def normalised(scores: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """Maps (K, H, W), >= 0, divided by their own maxima + eps: float32 in [0, 1); an empty map stays empty."""
    return (scores / (scores.max(axis=(1, 2), keepdims=True, initial=0) + eps)).astype(np.float32)


def constant_background(scores: np.ndarray, threshold: float, eps: float = 1e-5) -> np.ndarray:
    """Object maps divided by their maxima below a background of constant score (PSA and EPS; 0.20 published).

    Args:
        scores: (K, H, W), >= 0.
        threshold: background score, in [0, 1].
        eps: keeps an empty map finite.

    Returns:
        float32 (K + 1, H, W), background first.
    """
    background = np.full((1, *scores.shape[1:]), threshold, np.float32)
    return np.concatenate([background, normalised(scores, eps)])


def learnt_background(scores: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Object maps as they are below the background that the classifier learnt.

    Args:
        scores: (K, H, W) probabilities.
        background: (H, W) probability.

    Returns:
        float32 (K + 1, H, W), background first.
    """
    return np.concatenate([background[None], scores]).astype(np.float32)


def to_label(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Arg-max over (K + 1, H, W), background first, as uint8 (H, W): 0 background, class + 1 else."""
    values = np.concatenate([[0], classes + 1]).astype(np.uint8)
    return values[probabilities.argmax(axis=0)]


def block_mean(maps: np.ndarray, cell: int) -> np.ndarray:
    """Mean over blocks of cell x cell pixels: (L, H, W) -> (L, ceil(H / cell), ceil(W / cell)), outside counts as 0."""
    labels, height, width = maps.shape
    padded = np.pad(maps, ((0, 0), (0, -height % cell), (0, -width % cell)))
    return padded.reshape(labels, padded.shape[1] // cell, cell, padded.shape[2] // cell, cell).mean(axis=(2, 4))


def label_map(arrays: Mapping[str, np.ndarray], size: tuple[int, int], threshold: float | None = None) -> np.ndarray:
    """The label map uint8 (H, W) that an artifact's arrays stand for: as stored, by threshold (cam) or by arg-max (prediction)."""
    if "label" in arrays:
        return arrays["label"]
    scores = upsampled(arrays["scores"], *size)
    if threshold is None:
        return scores.argmax(axis=0).astype(np.uint8)
    return to_label(constant_background(scores, threshold), arrays["classes"])
