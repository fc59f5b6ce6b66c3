"""What the gallery's page is told of one image: the photograph, the maps of every column, and how they score.

Pure functions from arrays to plain values for JSON. Maps go as numbers, not as pictures: the page colours them itself,
so that palettes, overlays and errors need no further files, and the class below the pointer is the number itself.
"""

import base64
import io
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

HEAT = 96  # cells, the longest side of a heat map: networks see in strides of 8 pixels and more
PREVIEW = 16, 12  # pixels, width and height; whatever the image's, as the page stretches it
QUALITY = 85  # of the photographs' JPEG


@dataclass
class Cell:
    """What a column holds of one image.

    Attributes:
        label: uint8 (H, W) of the picture's size, 255 where nothing was decided; None where there is none.
        soft: uint8 maps of any size, each with the label whose map it is (0 background, None saliency) and its maximum.
        iou: of the whole image, in [0, 1]; None where it has none.
        class_iou: by label, those of the truth and of the map.
    """

    label: np.ndarray | None = None
    soft: Sequence[tuple[int | None, float, np.ndarray]] = ()
    iou: float | None = None
    class_iou: Mapping[int, float] = field(default_factory=dict)


def fitted(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width with a longest side of at most `side`."""
    factor = min(1, side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))


def jpeg(image: np.ndarray, size: tuple[int, int]) -> bytes:
    """An image uint8 (H, W, 3) as JPEG of this height and width."""
    picture = Image.fromarray(image)
    if picture.size != size[::-1]:
        picture = picture.resize(size[::-1], Image.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def preview(image: np.ndarray) -> str:
    """An image as some hundred bytes of WebP in base64, shown while its row is read."""
    buffer = io.BytesIO()
    Image.fromarray(image).resize(PREVIEW, Image.BOX).save(buffer, "WEBP", quality=20)
    return base64.b64encode(buffer.getvalue()).decode()


def resized(label: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A label map uint8 (H, W) at another height and width, by nearest neighbour."""
    return np.asarray(Image.fromarray(label).resize(size[::-1], Image.NEAREST)) if label.shape != size else label


def quantised(scores: np.ndarray) -> tuple[float, np.ndarray]:
    """A soft map (h, w), >= 0: its maximum, and the map divided by it in steps of 1/255, at most `HEAT` cells a side."""
    values = scores.astype(np.float32)
    peak = float(values.max(initial=0))
    height, width = values.shape
    size = fitted(height, width, HEAT)
    if values.shape != size:
        values = np.asarray(Image.fromarray(values).resize(size[::-1], Image.BOX))
    return peak, np.rint(255 * np.clip(values / max(peak, 1e-5), 0, 1)).astype(np.uint8)


def record(photograph: bytes, size: tuple[int, int], cells: Sequence[Cell | None]) -> dict:
    """All of an image as plain values: JPEG and maps in base64.

    The maps follow each other in one stream of deflated bytes, in the order of `cells`, a cell's label map first; of
    soft maps the difference to the byte before is stored, modulo 256.
    """
    stream, told = bytearray(), list[dict | None]()
    for cell in cells:
        if cell is None:
            told.append(None)
            continue
        if cell.label is not None:
            stream += np.ascontiguousarray(cell.label).tobytes()
        soft = []
        for label, peak, values in cell.soft:
            stream += np.diff(values.ravel(), prepend=np.uint8(0)).astype(np.uint8).tobytes()
            soft.append({"label": label, "peak": round(peak, 4), "size": list(values.shape)})
        found: dict[str, Any] = {"label": cell.label is not None, "soft": soft}
        found["iou"] = {str(label): rounded(value) for label, value in sorted(cell.class_iou.items())}
        told.append(found)
    maps = base64.b64encode(zlib.compress(bytes(stream), 6)).decode()
    return {"size": list(size), "photo": base64.b64encode(photograph).decode(), "maps": maps, "cells": told}


def rounded(value: float | None) -> float | None:
    """Three decimals; None for what is no number."""
    return None if value is None or np.isnan(value) else round(float(value), 3)
