"""Truth masks of COCO: drawn from its instances, or the pixel maps of COCO-Stuff (Caesar et al., CVPR 2018)."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index import Index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.kinds.coco_file import outlines
from workflow_scripts.data.readers.images import VOID, read_label_png

# Category ids in the order of the 80 classes: 1 to 90, ten of which COCO never used.
UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
CATEGORY_IDS = tuple(number for number in range(1, 91) if number not in UNUSED)
UNLABELLED = 255  # value of COCO-Stuff's maps


@dataclass(frozen=True)
class Region:
    """Pixels of one instance, run-length encoded."""

    label: int
    crowd: bool
    encoded: dict


def reader(settings: Any, index: Index, faults: Faults) -> Callable[[str], dict[str, np.ndarray]]:
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
    regions: dict[str, list[Region]] = {}
    for identifier, outline in outlines(settings, index, faults):
        regions.setdefault(identifier, []).append(Region(outline.label + 1, outline.crowd, outline.encoded))
    return lambda identifier: {
        "label": draw(regions.get(identifier, []), index.size_of(identifier), settings.crowd, settings.overlap)
    }


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


def draw(regions: list[Region], size: tuple[int, int], crowd: str, overlap: str) -> np.ndarray:
    """The label map of an image, uint8 (H, W).

    Crowd regions lie below all instances. Among instances of two classes that share a pixel, `overlap` decides: the
    later one in the file (as COCO-Stuff's own code draws them), the smaller one, or neither (ignored).
    """
    label = np.zeros(size, np.uint8)
    drawn = np.zeros(size, bool)
    instances = [region for region in regions if not region.crowd]
    if overlap == "smaller":
        instances.sort(key=lambda region: -int(rle.area(region.encoded)))
    for region in [region for region in regions if region.crowd]:
        label[rle.decode(region.encoded).astype(bool)] = region.label if crowd == "class" else VOID
    for region in instances:
        inside = rle.decode(region.encoded).astype(bool)
        shared = inside & drawn & (label != region.label)
        label[inside] = region.label
        if overlap == "ignore":
            label[shared] = VOID
        drawn |= inside
    return label
