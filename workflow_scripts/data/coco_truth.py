"""Truth masks of COCO: drawn from its instances, or the pixel maps of COCO-Stuff (Caesar et al., CVPR 2018)."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from workflow_scripts.data.images import VOID, read_label_png
from workflow_scripts.data.index import Index
from workflow_scripts.data.json_lists import is_number, read_lists
from workflow_scripts.errors import UserError

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


def reader(settings: Any, index: Index) -> Callable[[str], dict[str, np.ndarray]]:
    """The function from an image's id to its `label`, uint8 (H, W): 0 background, 1..C classes, 255 ignored.

    Memory: the encoded instances of all images that are asked for, less than a kilobyte each.
    """
    if settings.maps:
        values = map_values(len(index.classes), settings.unlabelled, settings.maps[0])
        folders = [Path(settings.root) / name for name in settings.maps]
        return lambda identifier: {"label": values[read_label_png(map_path(folders, identifier), None, VOID)]}
    wanted, regions = set(index.split(*settings.splits)), dict[str, list[Region]]()
    for file in settings.files:
        regions |= read_regions(Path(settings.root) / file, index, wanted)
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


def read_regions(path: Path, index: Index, wanted: Collection[str]) -> dict[str, list[Region]]:
    """The instances of a file, by image, in its order.

    Raises:
        UserError: an instance whose pixels cannot be read, or images and classes that are not those of the index.
    """
    names: dict[int, str] = {}
    labels: dict[int, int] = {}
    for key, item in read_lists(path, ("images", "categories", "annotations")):
        if key == "images" and (name := Path(item["file_name"]).stem) in wanted:
            names[item["id"]] = name
        elif key == "categories":
            labels[item["id"]] = index.classes.index(item["name"]) + 1
    regions: dict[str, list[Region]] = {}
    for _, item in read_lists(path, ("annotations",)):
        name = names.get(item["image_id"])
        if name is not None:
            encoded = encode(item.get("segmentation"), index.size_of(name), f"{path}, annotation {item['id']}")
            if encoded is not None:
                region = Region(labels[item["category_id"]], bool(item.get("iscrowd")), encoded)
                regions.setdefault(name, []).append(region)
    return regions


def encode(segmentation: Any, size: tuple[int, int], where: str) -> dict | None:
    """Run-length encoded pixels of a segmentation: polygons, or runs as numbers or as text. None for one without area.

    Args:
        segmentation: as COCO has it; vertices outside the image are moved to its border.
        size: height and width of the image in pixels.
    """
    height, width = size
    if isinstance(segmentation, list) and all(_is_polygon(part) for part in segmentation):
        polygons = [np.array(part, float).reshape(-1, 2) for part in segmentation if len(part) >= 6]
        clipped = [np.clip(part, 0, [width, height]).ravel().tolist() for part in polygons]
        return rle.merge(rle.frPyObjects(clipped, height, width)) if clipped else None
    if isinstance(segmentation, dict) and segmentation.get("size") == [height, width]:
        counts = segmentation.get("counts")
        counts = runs(counts) if isinstance(counts, str) else counts
        whole = isinstance(counts, list) and all(type(value) is int and value >= 0 for value in counts)
        if whole and sum(counts) == height * width:  # else the decoder would leave pixels as memory had them
            return rle.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    raise UserError(
        f"{where}: its segmentation is neither polygons nor runs of an image of {height} x {width} (H x W); restore the file"
    )


def runs(text: str) -> list[int] | None:
    """The run lengths that COCO writes as text, or None where it is no such text.

    Six bits a character, from "0": five of the number, low ones first, and one that tells that it goes on; from the
    fourth on, numbers are the difference from the one two before.
    """
    found: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        value -= (1 << shift) if bits & 16 else 0
        found.append(value + (found[-2] if len(found) > 2 else 0))
        value = shift = 0
    return found if shift == 0 else None


def _is_polygon(part: Any) -> bool:
    return isinstance(part, list) and all(is_number(value) for value in part) and len(part) % 2 == 0


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
