"""True instances of COCO, from its instances JSON."""

from collections.abc import Callable
from typing import Any

import numpy as np
from pycocotools import mask as rle

from workflow_scripts.data.index import Index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.instances import Instances
from workflow_scripts.data.kinds.coco_file import Outline, outlines


def reader(settings: Any, index: Index) -> Callable[[str], Instances]:
    """The function from an image's id to its instances, crowd regions among them.

    Memory: the encoded instances of all images that are asked for, less than a kilobyte each.

    Args:
        settings: `root`; `files`, instances files and the folders of their images, under it; `splits` that are asked for.
        index: of the data set.

    Raises:
        UserError: an instance whose pixels are not there or cannot be read.
    """
    found: dict[str, list[Outline]] = {}
    for identifier, outline in outlines(settings, index, Faults()):
        if rle.area(outline.encoded):
            found.setdefault(identifier, []).append(outline)
    return lambda identifier: _instances(found.get(identifier, []))


def _instances(found: list[Outline]) -> Instances:
    windows, patches = np.zeros((len(found), 4), np.int32), []
    for row, one in enumerate(found):
        left, top, wide, high = (int(value) for value in rle.toBbox(one.encoded))
        windows[row] = top, top + high, left, left + wide
        patches.append(rle.decode(one.encoded)[top : top + high, left : left + wide])
    return Instances(
        np.array([(*one.box, one.label) for one in found], np.float32).reshape(-1, 5),
        windows,
        tuple(patches),
        crowd=np.array([one.crowd for one in found], np.uint8),
        areas=np.array([one.area for one in found], np.float32),
    )
