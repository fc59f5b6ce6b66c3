"""Label Studio's JSON and JSON-MIN: rectangles, polygons, ellipses and brushes with labels, and choices for whole images."""

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.base.listings import PICTURE_SUFFIXES
from workflow_scripts.data.imports.geometry import box_corners, ellipse, encoded, simplest, turned
from workflow_scripts.data.imports.records import Contents, Picture, Shape, Told
from workflow_scripts.data.imports.source import Source, read_text
from workflow_scripts.data.kinds.csv import NO_CLASS, NO_OBJECT
from workflow_scripts.data.readers import brush_runs
from workflow_scripts.data.readers.images import MAX_PIXELS
from workflow_scripts.data.readers.json_lists import is_number

TITLE = "Label Studio"
LARGEST = 1 << 30  # bytes of a file; tasks are decoded one by one
UPLOADED = re.compile(r"[0-9a-f]{8}-")  # which Label Studio puts before the name of an uploaded file
GEOMETRY = ({"x", "y", "width", "height"}, {"points"}, {"rle"}, {"x", "y", "radiusX", "radiusY"})
FLOATS = 1e-6  # pixels, far more than what a division by 100 changes


@dataclass
class Region:
    """All results of one object: they share an id, and each says a part of it."""

    value: dict = field(default_factory=dict)
    labels: dict[str, None] = field(default_factory=dict)
    choices: dict[str, None] = field(default_factory=dict)


def found(source: Source) -> str:
    """JSON files whose outermost list has tasks."""
    return " and ".join(_files(source))


def read(source: Source, told: Told) -> Contents:
    """One annotation of each task counts: the one marked as ground truth, else the first; skipped ones do not.

    Raises:
        UserError: a file that is no such JSON.
    """
    names = _files(source)
    classes: dict[str, None] = {}
    silent = Told()
    for name in names:
        for number, task in enumerate(_tasks(source.root / name), start=1):
            with contextlib.suppress(UserError):  # is told later
                for region in _regions(task, f"task {number}", silent) or []:
                    labels = region.labels or region.choices
                    classes.update((label, None) for label in labels if label.lower() not in NO_CLASS | NO_OBJECT)

    def pictures(told: Told) -> Iterator[Picture]:
        for name in names:
            for number, task in enumerate(_tasks(source.root / name), start=1):
                where = f"{source.root / name}, task {task.get('id', number)}"
                try:
                    regions = _regions(task, where, told)
                    picture = _picture(regions, where, told)
                    picture.path = _image(source, name, task, where, told)
                except UserError as error:
                    told.add(str(error))
                    continue
                yield picture

    return Contents(sorted(classes), pictures)


def _files(source: Source) -> list[str]:
    names = []
    for name in source.with_suffix(".json"):
        bracket, keys = source.json_keys(name)
        full = {"annotations", "data"} <= keys or {"annotations", "result"} <= keys
        if bracket == "[" and (full or keys & {"annotation_id", "annotator", "lead_time"}):
            names.append(name)
    return names


def _tasks(path: Path) -> Iterator[dict]:
    """The elements of the outermost list, decoded one by one."""
    text, decoder = read_text(path, LARGEST), json.JSONDecoder()
    place = text.find("[") + 1
    while True:
        while place < len(text) and text[place] in " \t\r\n,":
            place += 1
        if place >= len(text):
            raise UserError(f"{path}: broken JSON (it ends too early); export it again")
        if text[place] == "]":
            return
        try:
            task, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: broken JSON ({one_line(error)}); export it again") from None
        if not isinstance(task, dict):
            raise UserError(f"{path}: holds {repr(task)[:60]} where a task is expected; export it again")
        yield task


def _regions(task: dict, where: str, told: Told) -> list[Region] | None:
    """The objects and choices of a task; None where nobody has annotated it."""
    if "annotations" not in task and "data" not in task:
        return _minimal(task)
    done = task.get("annotations") or task.get("completions") or []
    done = done if isinstance(done, list) else []
    done = [one for one in done if isinstance(one, dict) and not one.get("was_cancelled")]
    if not done:
        if task.get("predictions"):
            told.note("prediction", where)
        return None
    if len(done) > 1:
        told.note("several", where)
    chosen = next((one for one in done if one.get("ground_truth")), done[0])
    regions: dict[str | int, Region] = {}
    results = chosen.get("result") or []
    if not isinstance(results, list):
        raise UserError(f"{where}: its result is no list; export it again")
    for number, result in enumerate(results):
        if not isinstance(result, dict) or not isinstance(result.get("value"), dict):
            continue
        region = regions.setdefault(str(result["id"]) if result.get("id") else number, Region())
        _add(
            region,
            result["value"] | {key: result.get(key) for key in ("original_width", "original_height", "image_rotation")},
        )
        if result.get("type") not in ("choices", "taxonomy", "textarea", "rating", "number", "pairwise", "relation"):
            region.value.setdefault("kind", result.get("type"))
    return list(regions.values())


def _minimal(task: dict) -> list[Region] | None:
    """Of JSON-MIN: what a control has made stands under its name."""
    regions, annotated = [], "annotation_id" in task or "annotator" in task
    for key, value in task.items():
        if isinstance(value, dict) and "choices" in value:
            regions.append(Region(choices=dict.fromkeys(map(str, value["choices"]))))
        elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            for one in value:
                region = Region()
                _add(region, one)
                regions.append(region)
        elif isinstance(value, str) and key in ("choice", "choices", "class"):
            regions.append(Region(choices={value: None}))
        annotated = annotated or bool(regions)
    return regions if annotated else None


def _add(region: Region, value: dict) -> None:
    for key, part in value.items():
        if key == "choices":
            region.choices.update(dict.fromkeys(map(str, part if isinstance(part, list) else [part])))
        elif key.endswith("labels") and isinstance(part, list):
            region.labels.update(dict.fromkeys(map(str, part)))
        elif part is not None:
            region.value[key] = part


def _picture(regions: list[Region] | None, where: str, told: Told) -> Picture:
    picture = Picture(Path(), where, annotated=regions is not None)
    labels: dict[str, None] = {}
    for region in regions or []:
        drawn = any(keys <= region.value.keys() for keys in GEOMETRY)
        if not drawn:
            words = region.labels or region.choices
            for word in words:
                if word in NO_OBJECT or word.lower() in NO_CLASS:
                    told.note("background_word", repr(word))
                else:
                    labels.setdefault(word)
            if region.labels:
                told.note("not_drawn", f"{region.value.get('kind', 'object')} of {', '.join(region.labels)}")
            continue
        size = _size(region.value, where)
        if picture.size not in (None, size):
            raise UserError(f"{where}: its objects are of pictures of several sizes; annotate one image in a task")
        picture.size = size
        names = region.labels or region.choices
        for name in names:
            picture.shapes.append(_shape(region.value, name, size, where, told))
    picture.labels = tuple(labels)
    return picture


def _size(value: dict, where: str) -> tuple[int, int]:
    height: Any = value.get("original_height")
    width: Any = value.get("original_width")
    if not (is_number(height) and is_number(width) and 0 < height * width <= MAX_PIXELS):
        raise UserError(
            f"{where}: does not say how large its image is (original_width, original_height); export it as JSON again"
        )
    if value.get("image_rotation"):
        raise UserError(f"{where}: its image was turned in the editor; turn the file itself, and annotate that")
    return int(height), int(width)


def _shape(value: dict, name: str, size: tuple[int, int], where: str, told: Told) -> Shape:
    height, width = size

    def pixels(*percent: Any) -> list[float]:
        """x, y, x, y... from percent of the sides, without the last decimals of floats."""
        if not all(map(is_number, percent)):
            raise UserError(f"{where}: an object of {name!r} lacks a number; draw it again")
        found = np.array([share * (height if place % 2 else width) / 100 for place, share in enumerate(percent)])
        return simplest(found, FLOATS).tolist()

    if "rle" in value:
        return Shape(name, outline=encoded(_brush(value["rle"], size, where)))
    if "points" in value:
        points = value["points"]
        good = isinstance(points, list) and all(isinstance(point, list) and len(point) == 2 for point in points)
        flat = [one for point in points for one in point] if good else [None]
        return Shape(name, outline=[pixels(*flat)])
    rotation = value.get("rotation") or 0
    if not is_number(rotation):
        raise UserError(f"{where}: an object of {name!r} has no number for its rotation; draw it again")
    if "radiusX" in value:
        told.note("curved", where)
        x, y, across, down = pixels(value["x"], value["y"], value["radiusX"], value["radiusY"])
        return Shape(name, outline=[turned(ellipse(x, y, across, down), (x, y), rotation).ravel().tolist()])
    x0, y0, x1, y1 = pixels(value["x"], value["y"], *_far_corner(value))
    if not (x1 > x0 and y1 > y0):
        raise UserError(f"{where}: a rectangle of {name!r} has no area; delete it or draw it again")
    if not rotation:
        return Shape(name, (x0, y0, x1, y1))
    told.note("rotated", where)
    return Shape(name, outline=[turned(box_corners((x0, y0, x1, y1)), (x0, y0), rotation).ravel().tolist()])


def _far_corner(value: dict) -> tuple[Any, Any]:
    sides: list[Any] = [value.get(key) for key in ("x", "y", "width", "height")]
    if not all(map(is_number, sides)):
        return None, None
    x, y, width, height = sides
    return x + width, y + height


def _brush(data: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """bool (H, W), what the brush's runs cover."""
    height, width = size
    try:
        if not isinstance(data, list):
            raise ValueError("no list of bytes")
        return brush_runs.decode(bytes(data), size)
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{where}: a brush that is not of an image of {width} x {height} pixels ({one_line(error)}); export it as JSON again"
        ) from None


def _image(source: Source, name: str, task: dict, where: str, told: Told) -> Path:
    """By the only value of the task's data that names a picture."""
    data = task.get("data") if isinstance(task.get("data"), dict) else task
    named = (
        [value for value in data.values() if isinstance(value, str) and _file(value)] if isinstance(data, dict) else []
    )
    if len(named) != 1:
        raise UserError(f"{where}: names {len(named) or 'no'} images, expected one; annotate one image in a task")
    file = PurePosixPath(_file(named[0]))
    beside = "" if str(PurePosixPath(name).parent) == "." else str(PurePosixPath(name).parent)
    try:
        return source.find(str(file), beside, where, told)
    except UserError:
        plain = UPLOADED.sub("", file.name, count=1)
        if plain == file.name:
            raise
        return source.find(plain, beside, where, told)


def _file(address: str) -> str:
    """The name of a picture in an address or a path; empty where there is none."""
    parts = urlsplit(address.replace("\\", "/"))
    local = parse_qs(parts.query).get("d", [""])[0]  # /data/local-files/?d=folder/a.jpg
    path = unquote(local or parts.path)
    if PurePosixPath(path).suffix.lower() not in PICTURE_SUFFIXES:
        return ""
    for start in ("/data/upload/", "/data/local-files/"):
        path = path.removeprefix(start)
    return path.lstrip("/")
