"""A COCO data set of one picture, whose JSON the tests write, and what is read of it."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index import read_index, write_index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.kinds.coco import read_coco
from workflow_scripts.data.readers import coco_masks

CLASSES = ("cat", "dog", "cow")
HEIGHT, WIDTH = 48, 64


def picture(path: Path, height: int = HEIGHT, width: int = WIDTH) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), len(path.parts), np.uint8)).save(path)


def listed(number=1, name="a.png", **more) -> dict:
    return {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT} | more


def drawn(number=1, image=1, category=1, box=(4, 5, 10, 8), **more) -> dict:
    x, y, w, h = box
    outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {"id": number, "image_id": image, "category_id": category, "bbox": list(box), "segmentation": outline} | more


def without(item: dict, *keys: str) -> dict:
    return {key: value for key, value in item.items() if key not in keys}


def write(root: Path, images: list, annotations: list, categories=None, file: str = "i.json") -> Path:
    named = [{"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)]
    content = {"images": images, "annotations": annotations, "categories": named if categories is None else categories}
    (root / file).write_text(json.dumps(content))
    return root / file


def read(root: Path, faults: Faults | None = None, **splits):
    return read_coco(root, CLASSES, splits or {"all": ("i.json", "images")}, faults=faults)


def told(call) -> list[str]:
    """The lines of the faults, without the one with their number."""
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value).split("\n")[1:]


def truths(root: Path, faults: Faults | None = None, **splits) -> tuple:
    """The functions from an id to its label map and its true instances, of an index made anew."""
    splits = splits or {"all": ("i.json", "images")}
    members, entries = read(root, **splits)
    write_index(str(root / "index.h5"), "mine", CLASSES, entries, members)
    index = read_index(str(root / "index.h5"))
    about = SimpleNamespace(
        root=str(root), files=list(splits.values()), splits=list(splits), maps=[], crowd="class", overlap="later"
    )
    faults = Faults() if faults is None else faults
    return coco_masks.truth(about, index, faults), coco_masks.instances(about, index)
