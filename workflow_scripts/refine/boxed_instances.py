"""Instance masks from the boxes of an image and a label map that was made from them (BANA, Oh et al., CVPR 2021)."""

import numpy as np

from workflow_scripts.data.boxes import by_area, region
from workflow_scripts.data.instances import UNRELIABLE, Instances


def boxed_instances(label: np.ndarray, boxes: np.ndarray, overlap: str = "both") -> Instances:
    """The mask of each box: the pixels of its class inside it.

    Pixels of the label map that are ignored are unreliable in every box that has them. A box without any pixel of its
    class says nothing about its object, so that all of its mask is unreliable.

    Args:
        label: uint8 (H, W), 0 background, class + 1, 255 ignored.
        boxes: (M, 5), x0, y0, x1, y1 in pixels, 0-based class.
        overlap: of boxes of one class: "both" have the pixels that they share, or the "smaller" box alone.
    """
    height, width = label.shape
    places = [region(box, height, width) for box in boxes]
    owner = np.full(label.shape, -1)
    windows, patches = np.zeros((len(boxes), 4), np.int32), []
    for row, (rows, columns) in enumerate(places):
        windows[row] = rows.start, rows.stop, columns.start, columns.stop
        inside = label[rows, columns]
        patch = (inside == int(boxes[row, 4]) + 1).astype(np.uint8)
        patch[inside == UNRELIABLE] = UNRELIABLE
        patches.append(patch)
    if overlap == "smaller":
        for row in by_area(boxes):  # the smallest come last
            rows, columns = places[row]
            owner[rows, columns][patches[row] == 1] = row
        for patch, row, (rows, columns) in zip(patches, range(len(boxes)), places, strict=True):
            patch[(patch == 1) & (owner[rows, columns] != row)] = 0
    for patch in patches:
        if not (patch == 1).any():
            patch[:] = UNRELIABLE
    return Instances(np.asarray(boxes, np.float32), windows, tuple(patches))
