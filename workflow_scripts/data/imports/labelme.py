"""LabelMe: a JSON beside each image, with polygons, rectangles, circles and masks, or flags of the image as a whole."""

import base64
import binascii
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.data.imports.geometry import ellipse, encoded
from workflow_scripts.data.imports.records import Contents, Picture, Shape, Told
from workflow_scripts.data.imports.source import Source, split_of
from workflow_scripts.data.readers.images import MAX_PIXELS, open_image
from workflow_scripts.data.readers.json_lists import is_number

TITLE = "LabelMe"


def found(source: Source) -> str:
    """JSON files with shapes and the path of an image; those that are only called like one are not looked into."""
    names = source.with_suffix(".json")
    for name in names[:20]:  # others, of settings say, may lie in front
        if _is_labelme(source, name):
            return f"{len(names)} JSON files such as {name}"
    return ""


def read(source: Source, told: Told) -> Contents:
    """Shapes of one group and name are one object. Flags are labels where no file has a shape.

    Raises:
        UserError: a file that cannot be read.
    """
    names = []
    for name in source.with_suffix(".json"):
        if _is_labelme(source, name):
            names.append(name)
        else:
            told.note("other_file", name)
    classes, flags = dict[str, None](), dict[str, None]()
    for name in names:
        try:
            document = _document(source, name)
        except UserError:
            continue
        classes.update((str(shape.get("label")), None) for shape in document["shapes"])
        flags.update((flag, None) for flag, value in document["flags"].items() if value is True)
    flagged = not classes
    if flags and not flagged:
        for flag in flags:
            told.note("flags", flag)

    def pictures(told: Told) -> Iterator[Picture]:
        for name in names:
            where = str(source.root / name)
            try:
                document = _document(source, name)
                picture = _picture(document, where, size=_size(document), told=told)
                if flagged:
                    picture.labels = tuple(flag for flag, value in document["flags"].items() if value is True)
                picture.path = _image(source, name, document, told)
            except UserError as error:
                told.add(str(error))
                continue
            picture.split = split_of(*reversed(Path(name).parts[:-1]))
            yield picture

    return Contents(sorted(flags if flagged else classes), pictures)


def _is_labelme(source: Source, name: str) -> bool:
    bracket, keys = source.json_keys(name)
    return bracket == "{" and "shapes" in keys and bool(keys & {"imagePath", "flags", "version"})


def _document(source: Source, name: str) -> dict:
    path = source.root / name
    try:
        document = json.loads(source.text(name))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: broken JSON ({one_line(error)}); save it again in LabelMe") from None
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise UserError(f"{path}: has no list of shapes; save it again in LabelMe")
    document["flags"] = document["flags"] if isinstance(document.get("flags"), dict) else {}
    document["shapes"] = [shape for shape in document["shapes"] if isinstance(shape, dict)]
    return document


def _size(document: dict) -> tuple[int, int] | None:
    height, width = document.get("imageHeight"), document.get("imageWidth")
    if type(height) is not int or type(width) is not int or not 0 < height * width <= MAX_PIXELS:
        return None
    return height, width


def _image(source: Source, name: str, document: dict, told: Told) -> Path:
    path, where = Path(name), str(source.root / name)
    named = str(document.get("imagePath") or "")
    beside = "" if str(path.parent) == "." else str(path.parent)
    try:
        return source.find(named or path.with_suffix(".jpg").name, beside, where, told)
    except UserError as error:
        if document.get("imageData"):
            raise UserError(f"{error}. The JSON holds a copy: `labelme_export_json {where}` writes it") from None
        raise


def _picture(document: dict, where: str, size: tuple[int, int] | None, told: Told) -> Picture:
    picture = Picture(Path(), where, size=size)
    groups: dict[tuple[str, Any], Shape] = {}
    labels: dict[str, None] = {}
    for number, one in enumerate(document["shapes"], start=1):
        label, group = str(one.get("label") or "").strip(), one.get("group_id")
        group = group if isinstance(group, int | str) else None
        shape = _shape(one, label, size, f"{where}, shape {number}", told)
        if shape is None:
            labels.setdefault(label)
            told.note("not_drawn", f"{one.get('shape_type')} of {label}")
        elif group is not None and (label, group) in groups and _polygons(shape) and _polygons(groups[label, group]):
            groups[label, group].outline += shape.outline
        else:
            picture.shapes.append(shape)
            if group is not None:
                groups.setdefault((label, group), shape)
    picture.labels = tuple(labels)
    return picture


def _polygons(shape: Shape) -> bool:
    return isinstance(shape.outline, list)


def _shape(one: dict, label: str, size: tuple[int, int] | None, where: str, told: Told) -> Shape | None:
    """One shape; None where it has no area."""
    points, kind = one.get("points"), one.get("shape_type") or "polygon"
    good = isinstance(points, list) and all(
        isinstance(point, list) and len(point) == 2 and all(map(is_number, point)) for point in points
    )
    if not good or not points:
        raise UserError(f"{where}: its points are not pairs of numbers; draw it again")
    array = np.array(points, float)
    (x0, y0), (x1, y1) = array.min(axis=0).tolist(), array.max(axis=0).tolist()
    if kind == "polygon" and len(points) > 2:
        return Shape(label, outline=[array.ravel().tolist()])
    if kind == "rectangle" and len(points) in (2, 4):
        if len(points) == 4 and len({*array[:, 0]}) > 2:  # an oriented one, of newer versions
            told.note("rotated", where)
            return Shape(label, outline=[array.ravel().tolist()])
        return Shape(label, (x0, y0, x1, y1)) if x1 > x0 and y1 > y0 else _without_area(where)
    if kind == "oriented_rectangle" and len(points) == 4:
        told.note("rotated", where)
        return Shape(label, outline=[array.ravel().tolist()])
    if kind == "circle" and len(points) == 2:
        told.note("curved", where.partition(", shape")[0])
        (x, y), edge = points
        radius = float(np.hypot(edge[0] - x, edge[1] - y))
        return Shape(label, outline=[ellipse(x, y, radius, radius).ravel().tolist()])
    if kind == "mask" and len(points) == 2:
        return Shape(label, outline=encoded(_mask(one, (int(x0), int(y0)), size, where)))
    if kind in ("point", "points", "line", "linestrip"):
        return None
    raise UserError(f"{where}: a {kind} of {len(points)} points is not known; draw it as a polygon")


def _without_area(where: str) -> Shape:
    raise UserError(f"{where}: the rectangle has no area; delete it or draw it again")


def _mask(one: dict, corner: tuple[int, int], size: tuple[int, int] | None, where: str) -> np.ndarray:
    """bool (H, W), of the PNG that lies in the JSON."""
    try:
        data = base64.b64decode(one.get("mask") or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        data = b""
    if not data or size is None:
        raise UserError(f"{where}: its mask, or the size of its image, cannot be read; draw it again")
    image = open_image(io.BytesIO(data), where)
    (left, top), (height, width) = corner, size
    if image.width + left > width or image.height + top > height or min(corner) < 0:
        raise UserError(f"{where}: its mask is not inside the image of {width} x {height} pixels; draw it again")
    mask = np.zeros(size, bool)
    try:
        mask[top : top + image.height, left : left + image.width] = np.asarray(image.convert("L")) > 0
    except Exception as error:  # a broken file makes a decoder raise anything
        raise UserError(f"{where}: its mask is broken ({one_line(error)}); draw it again") from None
    return mask
