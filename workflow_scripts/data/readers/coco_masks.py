"""Truth masks of COCO, drawn from its instances or the pixel maps of COCO-Stuff (Caesar et al., CVPR 2018); true instances."""

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index import Index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.instances import Instances
from workflow_scripts.data.readers.coco_file import CATEGORY_IDS, Outline, outlines
from workflow_scripts.data.readers.images import VOID, read_label_png

UNLABELLED = 255  # value of COCO-Stuff's maps


def truth(settings: Any, index: Index, faults: Faults) -> Callable[[str], dict[str, np.ndarray]]:
    """The function from an image's id to its `label`, uint8 (H, W): 0 background, 1..C classes, 255 ignored.

    Memory: the encoded instances of all images that are asked for, less than a kilobyte each.

    Args:
        settings: of the job: `splits`; `maps`, or `files` with `crowd` and `overlap`.
        index: of the data set.
        faults: collects what is suspicious.

    Raises:
        UserError: an instance whose pixels are not there or cannot be read.
    """
    if settings.maps:
        values = map_values(len(index.classes), settings.unlabelled, settings.maps[0])
        folders = [Path(settings.root) / name for name in settings.maps]
        return lambda identifier: {
            "label": values[read_label_png(map_path(folders, identifier), None, VOID, index.oriented)]
        }
    found: dict[str, list[Outline]] = {}
    for identifier, outline in outlines(settings, index, faults):
        found.setdefault(identifier, []).append(outline)
    return lambda identifier: {
        "label": draw(found.get(identifier, []), index.size_of(identifier), settings.crowd, settings.overlap)
    }


def instances(settings: Any, index: Index) -> Callable[[str], Instances]:
    """The function from an image's id to its instances, crowd regions among them; memory as `truth`.

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


def map_path(folders: Collection[Path], identifier: str) -> Path:
    """The pixel map of an image: under its id, or under the number at its end, as COCO names its images since 2017."""
    number = re.search(r"\d{12}$", identifier)
    names = [identifier, *([number[0]] if number else [])]
    paths = [folder / f"{name}.png" for folder in folders for name in names]
    return next((path for path in paths if path.exists()), paths[0])


def map_values(num_classes: int, unlabelled: str, where: str) -> np.ndarray:
    """From the 256 values of COCO-Stuff's maps, which are category ids less 1, to labels; stuff is background."""
    if num_classes != len(CATEGORY_IDS):
        raise UserError(f"config: maps {where}: have COCO's 80 classes, the data set {num_classes}; leave maps out")
    values = np.zeros(256, np.uint8)
    values[np.array(CATEGORY_IDS) - 1] = np.arange(1, num_classes + 1)
    values[UNLABELLED] = VOID if unlabelled == "ignore" else 0
    return values


def draw(found: list[Outline], size: tuple[int, int], crowd: str, overlap: str) -> np.ndarray:
    """The label map of an image, uint8 (H, W).

    Crowd regions lie below all instances. Among instances of two classes that share a pixel, `overlap` decides: the
    later one in the file (as COCO-Stuff's own code draws them), the smaller one, or neither (ignored).
    """
    label = np.zeros(size, np.uint8)
    drawn = np.zeros(size, bool)
    instances = [one for one in found if not one.crowd]
    if overlap == "smaller":
        instances.sort(key=lambda one: -int(rle.area(one.encoded)))
    for one in [one for one in found if one.crowd]:
        label[rle.decode(one.encoded).astype(bool)] = one.label + 1 if crowd == "class" else VOID
    for one in instances:
        inside = rle.decode(one.encoded).astype(bool)
        shared = inside & drawn & (label != one.label + 1)
        label[inside] = one.label + 1
        if overlap == "ignore":
            label[shared] = VOID
        drawn |= inside
    return label
