"""Small data sets in the layouts of annotation tools, and what `wsss import` reads of them."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.commands import import_data
from workflow_scripts.data.imports.rows import Wishes
from workflow_scripts.data.imports.source import Source


def picture(name, size=(20, 30), seed=None):
    """A picture of noise, none like another."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(name) * 1000 + sum(map(ord, name)) if seed is None else seed)
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return path


def written(name: str, text) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def read(path="in", name=None, images=None, **wishes) -> import_data.Result:
    return import_data.read(Source(Path(path), images), name, Wishes(**wishes), threads=2)


def rows(result) -> dict:
    return {row.identifier: row for row in result.table.rows}


def labels(result) -> dict:
    """Labels by id, sorted."""
    return {name: sorted(row.labels) for name, row in rows(result).items()}


def boxes(result) -> dict:
    return {name: [(*box, label) for box, label in row.boxes] for name, row in rows(result).items()}


def drawn(result) -> dict:
    found = import_data.masks(result.table, result.contents, result.wishes)
    return {row.identifier: label for row, label in found}


def faults(result) -> list[str]:
    return list(result.told.messages)


def labelme(shapes, name="in/a.json", flags=None, **more) -> None:
    document = {
        "version": "5.5.0",
        "flags": flags or {},
        "shapes": shapes,
        "imagePath": f"{Path(name).stem}.png",
        "imageData": None,
    }
    written(name, document | {"imageHeight": 20, "imageWidth": 30} | more)


def shape(label, points, kind="polygon", **more) -> dict:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}} | more
