"""True instances of COCO, from its instances JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from workflow_scripts.data.coco_truth import encode
from workflow_scripts.data.index import Index
from workflow_scripts.data.instances import Instances
from workflow_scripts.data.json_lists import is_number, read_lists


def reader(settings: Any, index: Index) -> Callable[[str], Instances]:
    """The function from an image's id to its instances, crowd regions among them.

    Memory: the encoded instances of all images that are asked for, less than a kilobyte each.

    Args:
        settings: `root`, the folder of the instances files `files`; `splits` that are asked for.
        index: of the data set.

    Raises:
        UserError: an instance whose pixels cannot be read.
    """
    wanted, found = set(index.split(*settings.splits)), dict[str, list[dict]]()
    for file in settings.files:
        path = Path(settings.root) / file
        names, labels = dict[int, str](), dict[int, int]()
        for key, item in read_lists(path, ("images", "categories", "annotations")):
            if key == "images" and (name := Path(item["file_name"]).stem) in wanted:
                names[item["id"]] = name
            elif key == "categories":
                labels[item["id"]] = index.classes.index(item["name"])
        for _, item in read_lists(path, ("annotations",)):
            name = names.get(item["image_id"])
            if name is None:
                continue
            encoded = encode(item.get("segmentation"), index.size_of(name), f"{path}, annotation {item['id']}")
            if encoded is not None and rle.area(encoded):
                about = {"encoded": encoded, "box": item["bbox"], "label": labels[item["category_id"]]}
                about |= {"crowd": bool(item.get("iscrowd")), "area": _area(item, encoded)}
                found.setdefault(name, []).append(about)
    return lambda identifier: _instances(found.get(identifier, []))


def _area(item: dict, encoded: dict) -> float:
    """As the file has it, which is that of the polygons; COCO's sizes go by it."""
    area = item.get("area")
    return float(area) if is_number(area) and area > 0 else float(rle.area(encoded))


def _instances(items: list[dict]) -> Instances:
    boxes, windows, patches = np.zeros((len(items), 5), np.float32), np.zeros((len(items), 4), np.int32), []
    for row, item in enumerate(items):
        x, y, width, height = item["box"]
        boxes[row] = x, y, x + width, y + height, item["label"]
        left, top, wide, high = (int(value) for value in rle.toBbox(item["encoded"]))
        windows[row] = top, top + high, left, left + wide
        patches.append(rle.decode(item["encoded"])[top : top + high, left : left + wide])
    return Instances(
        boxes,
        windows,
        tuple(patches),
        crowd=np.array([item["crowd"] for item in items], np.uint8),
        areas=np.array([item["area"] for item in items], np.float32),
    )
