"""Instances of an image: a box, a class and a mask each, as artifacts of schema `instances` hold them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as rle

UNRELIABLE = 255  # of a mask: neither object nor background for sure


@dataclass(frozen=True)
class Instances:
    """M instances of one image. Masks may overlap, and may be empty.

    Attributes:
        boxes: float32 (M, 5), x0, y0, x1, y1 in pixels as the source has them, 0-based class.
        windows: int32 (M, 4), the part of the image that each mask is stored for: first row, end, first column, end.
        patches: the masks in their windows, uint8 (h, w): 1 object, 0 not, 255 unreliable. Outside there is no object.
        scores: float32 (M,), where a network found them.
        crowd: uint8 (M,), 1 for a region of many objects; of truth, where the data set has such.
        areas: float32 (M,), pixels; of truth, where the data set gives them.
    """

    boxes: np.ndarray
    windows: np.ndarray
    patches: tuple[np.ndarray, ...]
    scores: np.ndarray | None = None
    crowd: np.ndarray | None = None
    areas: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Instances":
        """As `artifacts.Reader.read` gives them."""
        windows = arrays["windows"]
        shapes = windows[:, 1::2] - windows[:, ::2]
        parts = np.split(arrays["pixels"], np.cumsum(shapes.prod(axis=1, dtype=np.int64))[:-1]) if len(windows) else []
        patches = tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
        more = {name: arrays[name] for name in ("scores", "crowd", "areas") if name in arrays}
        return cls(arrays["boxes"], windows, patches, **more)

    def arrays(self) -> dict[str, np.ndarray]:
        """For `artifacts.Writer.put`."""
        pixels = np.concatenate([patch.ravel() for patch in self.patches]) if self.patches else np.zeros(0)
        more = {name: getattr(self, name) for name in ("scores", "crowd", "areas")}
        found = {
            "boxes": np.asarray(self.boxes, np.float32).reshape(-1, 5),
            "windows": np.asarray(self.windows, np.int32).reshape(-1, 4),
            "pixels": pixels.astype(np.uint8),
        }
        return found | {name: values for name, values in more.items() if values is not None}

    def mask(self, row: int, height: int, width: int) -> np.ndarray:
        """One mask in its whole image: uint8 (height, width), as in `patches`."""
        top, bottom, left, right = self.windows[row]
        whole = np.zeros((height, width), np.uint8)
        whole[top:bottom, left:right] = self.patches[row]
        return whole

    def encoded(self, height: int, width: int, value: int = 1) -> list[dict]:
        """Run-length encoded pixels of each mask that have a value, as COCO writes them but for `counts` in bytes."""
        if not len(self):
            return []
        whole = np.zeros((height, width, len(self)), np.uint8, order="F")
        for row, (patch, (top, bottom, left, right)) in enumerate(zip(self.patches, self.windows, strict=True)):
            whole[top:bottom, left:right, row] = patch == value
        return rle.encode(whole)


def from_masks(masks: Sequence[np.ndarray], classes: Sequence[int], **more: np.ndarray) -> Instances:
    """Instances of masks (H, W) of 0, 1 and 255, with boxes tight around what is not 0; masks of 0 alone are left out.

    Args:
        masks: one for each instance.
        classes: 0-based.
        more: `scores`, `crowd` or `areas` of the instances.
    """
    kept = [row for row, mask in enumerate(masks) if mask.any()]
    windows = np.zeros((len(kept), 4), np.int32)
    boxes = np.zeros((len(kept), 5), np.float32)
    patches = []
    for number, row in enumerate(kept):
        mask = masks[row]
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        top, bottom, left, right = windows[number] = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        boxes[number] = left, top, right, bottom, classes[row]
        patches.append(mask[top:bottom, left:right].astype(np.uint8))
    return Instances(boxes, windows, tuple(patches), **{name: values[kept] for name, values in more.items()})
