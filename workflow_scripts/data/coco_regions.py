"""COCO's JSON of instances, written: regions of masks as compressed run lengths (Lin et al., ECCV 2014).

Pure functions from masks to entries of the file, and from entries to its text, piece by piece.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from pycocotools import mask as runs

from workflow_scripts.data.index import Index


def categories(classes: Sequence[str]) -> list[dict]:
    """Entries of the object classes: 1 for the first."""
    return [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(classes, start=1)]


def image_numbers(ids: Sequence[str]) -> list[int]:
    """The numbers at the end of the ids, which COCO's images go by, where they tell them apart; else 1, 2, 3..."""
    found = [int(match[0]) for identifier in ids if (match := re.search(r"\d+$", identifier))]
    if len({*found}) == len(ids):
        return found
    return list(range(1, len(ids) + 1))


def file_names(index: Index) -> dict[str, str]:
    """Name of each image's file, by id; below the folder that all are in, where two have one name.

    A rendered image has no file, its name is then that of its id.
    """
    names = {
        identifier: Path(path).name or f"{identifier}.png"
        for identifier, path in zip(index.ids, index.images, strict=True)
    }
    if len(set(names.values())) == len(names):
        return names
    paths = [os.path.abspath(path) for path in index.images]
    folder = os.path.commonpath(paths)
    return {
        identifier: Path(path).relative_to(folder).as_posix() for identifier, path in zip(index.ids, paths, strict=True)
    }


def image_entry(index: Index, identifier: str, number: int, name: str) -> dict:
    """Entry of an image in a file of this name."""
    height, width = index.size_of(identifier)
    return {"id": number, "file_name": name, "height": height, "width": width}


def region(mask: np.ndarray) -> dict:
    """What an annotation says of a region.

    Args:
        mask: bool or uint8 (H, W), not 0 inside.

    Returns:
        `segmentation`, compressed run lengths as text; `area` in pixels; `bbox`, x, y, width and height in pixels.
    """
    packed = runs.encode(np.asfortranarray(mask != 0, dtype=np.uint8))
    return {
        "segmentation": as_text(packed),
        "area": int(runs.area(packed)),
        "bbox": [float(value) for value in runs.toBbox(packed)],
    }


def as_text(packed: dict) -> dict:
    """Compressed run lengths as pycocotools gives them, `counts` as the text that JSON holds."""
    return {"size": [int(side) for side in packed["size"]], "counts": packed["counts"].decode("ascii")}


def annotation(number: int, image: int, category: int, mask: np.ndarray, **more) -> dict:
    """Entry of one region: its number, those of its image and class, `region`, and what else is known, a score say."""
    entry = {"id": number, "image_id": image, "category_id": category, "iscrowd": 0}
    return entry | region(mask) | more


def class_regions(label: np.ndarray, num_classes: int) -> Iterator[tuple[int, np.ndarray]]:
    """Each class of a label map uint8 (H, W), ascending, and its pixels, bool (H, W); no background, no 255."""
    for value in np.unique(label):
        if 0 < value <= num_classes:
            yield int(value), label == value


def document(classes: Sequence[str], images: Iterable[dict], annotations: Iterable[dict]) -> Iterator[str]:
    """The text of the file in pieces; images and annotations are taken one by one, a line each."""
    yield '{"info": {}, "licenses": [],\n"categories": ' + json.dumps(categories(classes))
    yield from _listed("images", images)
    yield from _listed("annotations", annotations)
    yield "}\n"


def _listed(key: str, entries: Iterable[dict]) -> Iterator[str]:
    yield f',\n"{key}": ['
    for number, entry in enumerate(entries):
        yield (",\n" if number else "\n") + json.dumps(entry)
    yield "\n]"
