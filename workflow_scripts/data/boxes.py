"""Boxes as regions of pixels. A box is x0, y0, x1, y1 in pixels as the source has them, and the 0-based class."""

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index import Index


def boxes_of(index: Index, identifier: str) -> np.ndarray:
    """The boxes of an image, (M, 5) float32; none where it has no labels.

    Raises:
        UserError: the image has labelled classes without a box.
    """
    boxes = index.boxes_of(identifier)
    boxed = {int(box[4]) for box in boxes}
    missing = [index.classes[label] for label in index.classes_of(identifier) if int(label) not in boxed]
    if missing:
        raise UserError(
            f"{index.path}: image {identifier!r} has no box of {', '.join(missing)}; "
            "give one for every object, or leave out the systems that learn from boxes"
        )
    return boxes


def objects_of(index: Index, identifier: str) -> np.ndarray:
    """Those drawn around one object; of a class that only crowds have, there are none."""
    boxes_of(index, identifier)
    return index.objects_of(identifier)


def region(box: np.ndarray, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a box: corners truncated, the last excluded as in BANA's code; at least one pixel of the image."""
    x0, y0, x1, y1 = (int(value) for value in box[:4])
    top, left = min(max(0, y0), height - 1), min(max(0, x0), width - 1)
    return slice(top, max(top + 1, min(y1, height))), slice(left, max(left + 1, min(x1, width)))


def background_mask(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (height, width): 1 outside every box, where background is sure, else 0."""
    mask = np.ones((height, width), np.uint8)
    for box in boxes:
        mask[region(box, height, width)] = 0
    return mask


def class_regions(boxes: np.ndarray, classes: np.ndarray, height: int, width: int) -> np.ndarray:
    """bool (K, height, width): the union of the boxes of each class."""
    regions = np.zeros((len(classes), height, width), bool)
    rows = {int(label): row for row, label in enumerate(classes)}
    for box in boxes:
        regions[rows[int(box[4])]][region(box, height, width)] = True
    return regions


def by_area(boxes: np.ndarray) -> list[int]:
    """Rows of the boxes, the largest first, so that what is painted later stands in front."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return [int(row) for row in np.argsort(-areas, kind="stable")]
