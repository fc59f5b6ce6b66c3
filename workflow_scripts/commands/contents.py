"""What artifacts must hold, whatever their bytes are: shapes, types, ranges, the images of the index, the layers of networks.

Generators of what is wrong with one file; image by image, so that artifacts of any length take little memory.
"""

import csv
import io
import json
import math
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import nn

from workflow_scripts import instance_segmentation, methods, segmentation
from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.index import Index, read_index
from workflow_scripts.data.readers.archives import BROKEN
from workflow_scripts.data.readers.json_lists import read_lists
from workflow_scripts.look.schemas import SCHEMAS, About, Wrong
from workflow_scripts.refine import affinity_networks
from workflow_scripts.store.artifacts import Reader, schema_and_dataset
from workflow_scripts.store.csv_files import class_column

MOST_FAULTS = 3  # told of one file
COLUMNS = {  # of tables that others read
    "curve": ("iteration", "learning_rate"),
    "miou": ("system", "stage", "prediction", "split", "images", "seeds", "threshold", "miou", "background"),
    "groups": ("system", "stage", "split", "group_by", "group", "miou"),
    "inputs": ("kind", "name", "split", "images"),
    "findings": ("check", "identifier", "detail"),
    "checks": ("check", "count", "first"),
    "rates": ("class", "masks", "boxes", "mean"),
}
KEYS = {"thresholds": ("split", "threshold", "miou"), "classification": ("split", "mean_average_precision")}


def faults(path: str, stage: str, output: str, settings: Mapping, index: Index | None) -> Iterator[str]:
    """What is wrong with the content of an artifact, at most `MOST_FAULTS` lines.

    Args:
        output: the name that its stage gives it.
        settings: of the job.
        index: of the data set; None where there is none yet.
    """
    found = _faults(path, stage, output, settings, index)
    try:
        for _, fault in zip(range(MOST_FAULTS), found, strict=False):
            yield fault
    except Wrong as wrong:
        yield str(wrong)
    except UserError as error:
        yield str(error).removeprefix(f"{path}: ").partition(";")[0]


def _faults(path: str, stage: str, output: str, settings: Mapping, index: Index | None) -> Iterator[str]:
    suffix = Path(path).suffix
    if output == "index":
        yield from _index(read_index(path, settings["dataset"]), settings)
    elif suffix == ".h5":
        schema, _ = schema_and_dataset(path)
        if schema not in SCHEMAS:
            yield f"holds {schema!r}, which no stage writes"
            return
        reader, index = Reader(path, schema, settings["dataset"]), index if stage != "render" else None
        yield from _images(reader, settings, index, whole=stage == "saliency")
    elif suffix == ".safetensors":
        yield from _weights(path, network(stage, settings))
    elif suffix == ".csv":
        yield from _table(path, output, settings)
    elif suffix == ".json":
        yield from _json(path, stage)
    elif suffix == ".png":
        yield from _picture(path)
    elif suffix == ".gz":
        yield from _archive(path)
    else:
        yield from _text(path)


# --- artifacts of images ----------------------------------------------------------------------------------------------


def _index(index: Index, settings: Mapping) -> Iterator[str]:
    """What `read_index` leaves: it has compared the columns."""
    if list(index.classes) != list(settings["classes"]):
        yield f"classes {', '.join(index.classes)}, the configuration has others"
    if index.labels.max(initial=0) > 1:
        yield "labels other than 0 and 1"
    if index.crowds.max(initial=0) > 1:
        yield "marks of crowds other than 0 and 1"
    for row, identifier in enumerate(index.ids):
        boxes = index.boxes[index.box_offsets[row] : index.box_offsets[row + 1], 4]
        if not np.isin(boxes, np.flatnonzero(index.labels[row])).all():
            yield f"image {identifier!r}: a box of a class that the image has not"


def _images(reader: Reader, settings: Mapping, index: Index | None, whole: bool) -> Iterator[str]:
    """Faults of an artifact of the images of its splits, or of all images; a split may be called "all"."""
    attributes, ids = reader.attributes, reader.ids
    classes = attributes["classes"]
    if attributes["images"] != len(ids):
        yield f"holds {len(ids)} images and says {attributes['images']}"
    if index is not None:
        if tuple(classes) != index.classes:
            yield f"classes {', '.join(classes)}, the index has {', '.join(index.classes)}"
            return
        split = attributes["split"]
        wanted = set(index.ids if whole else index.split(*split.split("+")))
        for kind, others in (("lacks", wanted - {*ids}), ("has too many", {*ids} - wanted)):
            if others:
                yield f"{kind} images, {len(others)}, such as {min(others)!r}"
        ids = [identifier for identifier in ids if identifier in index.row]
    for identifier in progress(ids, len(ids), reader.path, stream=sys.stderr):
        size = index.size_of(identifier) if index else (None, None)
        about = About(size, index.classes_of(identifier) if index else None, len(classes), settings)
        try:
            SCHEMAS[reader.schema].check_image(reader.read(identifier), about)
        except Wrong as wrong:
            yield f"image {identifier!r}: {wrong}"


# --- weights, tables and pictures -------------------------------------------------------------------------------------


def network(stage: str, settings: Mapping) -> nn.Module:
    """The network that a training wrote the weights of, without values."""
    block = json.loads(json.dumps(settings["block"]), object_hook=lambda item: SimpleNamespace(**item))
    classes = tuple(settings.get("classes", ()))
    builders: dict[str, Callable[[], nn.Module]] = {
        "train_saliency": lambda: plugin("detectors", "network").build(block.network),
        "train_classifier": lambda: methods.build(block, classes),
        "train_affinity": lambda: affinity_networks.build(block),
        "train_segmenter": lambda: segmentation.build(block, len(classes) + 1),
        "train_instances": lambda: instance_segmentation.build(block, len(classes) + 1),
    }
    with torch.device("meta"):
        return builders[stage]()


def _weights(path: str, expected: nn.Module) -> Iterator[str]:
    shapes = {name: tuple(value.shape) for name, value in expected.state_dict().items()}
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            for kind, others in (("lacks", shapes.keys() - names), ("has too many", names - shapes.keys())):
                if others:
                    yield f"{kind} layers, {len(others)}, such as {min(others)}"
            for name in sorted(names & shapes.keys()):
                values = file.get_tensor(name)
                if tuple(values.shape) != shapes[name]:
                    yield f"{name} is {tuple(values.shape)}, expected {shapes[name]}"
                elif not torch.isfinite(values).all():
                    yield f"{name} has values that are not finite"
    except (SafetensorError, OSError) as error:
        yield f"no weights ({one_line(error)})"


def _table(path: str, output: str, settings: Mapping) -> Iterator[str]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            if header in ([], [""]) and settings.get(output) == [] and not any(map(any, rows)):
                return  # a table without rows has no columns either: systems that start from boxes are given nothing
            wanted = (
                *COLUMNS.get(output, ()),
                *(class_column("iou", name) for name in settings.get("classes", ()) if output == "miou"),
            )
            missing = [name for name in wanted if name not in header]
            if missing or len({*header}) != len(header) or not all(header):
                yield f"its columns are {', '.join(header)[:200]}" + (f", without {missing[0]}" if missing else "")
                return
            for row in rows:
                if len(row) != len(header):
                    yield f"line {rows.line_num}: {len(row)} cells, expected {len(header)}"
                for name, cell in zip(header, row, strict=False):
                    if not _is_sound(name, cell):
                        yield f"line {rows.line_num}: {name} is {cell[:40]!r}"
    except (csv.Error, UnicodeDecodeError) as error:
        yield f"no table ({one_line(error)})"


def _is_sound(name: str, cell: str) -> bool:
    """Whether a number is finite, where it is one, and a percentage one."""
    try:
        value = float(cell)
    except ValueError:
        return name not in ("iteration", "learning_rate") and (name != "miou" or not cell)
    return math.isfinite(value) and (name != "miou" or 0 <= value <= 100)


def _json(path: str, stage: str) -> Iterator[str]:
    if stage == "coco_json":  # of any length
        for key, item in read_lists(Path(path), ("images", "annotations", "categories")):
            if not isinstance(item, dict) or not isinstance(item.get("id"), int):
                yield f"{key}: an entry without id"
        return
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:
        yield f"no JSON ({one_line(error)})"
        return
    missing = [key for key in KEYS.get(stage, ()) if not isinstance(found, dict) or key not in found]
    if not isinstance(found, dict) or not found or missing:
        yield f"holds no {', '.join(missing) or 'values by name'}"
    elif stage == "thresholds" and not (isinstance(found["threshold"], float | int) and 0 <= found["threshold"] <= 1):
        yield f"threshold {found['threshold']!r}, expected 0 to 1"


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")


def _picture(path: str) -> Iterator[str]:
    try:
        with Image.open(io.BytesIO(Path(path).read_bytes()), formats=("PNG",)) as image:
            image.load()
    except Exception as error:  # a broken file makes a decoder raise anything
        yield f"no PNG that can be decoded ({one_line(error)})"


def _archive(path: str) -> Iterator[str]:
    try:
        with tarfile.open(path, "r:gz") as archive:
            if not archive.getnames():
                yield "holds no file"
    except BROKEN as error:
        yield f"no archive that can be unpacked ({one_line(error)})"


def _text(path: str) -> Iterator[str]:
    try:
        if not Path(path).read_text(encoding="utf-8").strip():
            yield "is empty"
    except UnicodeDecodeError as error:
        yield f"no text ({one_line(error)})"
