"""CVAT for images 1.1: one XML for all images, with boxes, polygons, masks, ellipses and tags."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.imports.geometry import box_corners, ellipse, encoded, turned
from workflow_scripts.data.imports.records import Contents, Picture, Shape, Told
from workflow_scripts.data.imports.source import Source
from workflow_scripts.data.imports.xml_files import elements, numbers, root_tag
from workflow_scripts.data.index_entries import parse_box
from workflow_scripts.data.readers.images import MAX_PIXELS

TITLE = "CVAT for images"


def found(source: Source) -> str:
    """XML files whose root is <annotations>."""
    return " and ".join(_files(source))


def read(source: Source, told: Told) -> Contents:
    """Splits are CVAT's subsets.

    Raises:
        UserError: a file of tracks, or one that cannot be read.
    """
    names = _files(source)
    classes: dict[str, None] = {}
    for name in names:
        for element in elements(source.root / name, "label", "track", "image"):
            if element.tag == "track":
                raise UserError(
                    f"{source.root / name}: has tracks of a video; export it as 'CVAT for images 1.1', which has a picture for each frame"
                )
            if element.tag == "label" and (label := (element.findtext("name") or "").strip()):
                classes.setdefault(label)

    def pictures(told: Told) -> Iterator[Picture]:
        for name in names:
            beside = name.rpartition("/")[0]
            for element in elements(source.root / name, "image"):
                named = element.get("name") or ""
                where = f"{source.root / name}, image {named[:100]!r}"
                try:
                    picture = _picture(element, where, told)
                    picture.path = source.find(named, beside, where, told)
                except UserError as error:
                    told.add(str(error))
                    continue
                yield picture

    return Contents([*classes], pictures)


def _files(source: Source) -> list[str]:
    names = source.with_suffix(".xml")
    return [name for name in names if root_tag(source.root / name) == "annotations"]


def _picture(image: Any, where: str, told: Told) -> Picture:
    width, height = (int(value) for value in numbers(image, "width", "height", where=where))
    if not 0 < height * width <= MAX_PIXELS:
        raise UserError(f"{where}: states an image of {width} x {height} pixels; export it again")
    picture = Picture(Path(), where, split=image.get("subset") or "", size=(height, width), annotated=len(image) > 0)
    labels: dict[str, None] = {}
    for element in image:
        label = (element.get("label") or "").strip()
        if element.tag == "tag":
            labels.setdefault(label)
            continue
        shape = _shape(element, label, (height, width), where, told)
        if shape is None:
            labels.setdefault(label)
            told.note("not_drawn", f"{element.tag} of {label}")
        else:
            picture.shapes.append(shape)
    picture.labels = tuple(labels)
    return picture


def _shape(element: Any, label: str, size: tuple[int, int], where: str, told: Told) -> Shape | None:
    """One object; None where it has no area."""
    layer = int(element.get("z_order") or 0)
    rotation = float(element.get("rotation") or 0)
    if element.tag == "box":
        x0, y0, x1, y1 = parse_box([element.get(key) for key in ("xtl", "ytl", "xbr", "ybr")], where)
        if not rotation:
            return Shape(label, (x0, y0, x1, y1), layer=layer)
        told.note("rotated", where.rpartition("image ")[2])
        corners = turned(box_corners((x0, y0, x1, y1)), ((x0 + x1) / 2, (y0 + y1) / 2), rotation)
        return Shape(label, outline=[corners.ravel().tolist()], layer=layer)
    if element.tag == "polygon":
        return Shape(label, outline=[_points(element.get("points") or "", where)], layer=layer)
    if element.tag == "ellipse":
        told.note("curved", where.rpartition("image ")[2])
        x, y, across, down = numbers(element, "cx", "cy", "rx", "ry", where=where)
        return Shape(
            label, outline=[turned(ellipse(x, y, across, down), (x, y), rotation).ravel().tolist()], layer=layer
        )
    if element.tag == "mask":
        return Shape(label, outline=encoded(_mask(element, size, where)), layer=layer)
    return None


def _points(text: str, where: str) -> list[float]:
    try:
        points = [tuple(map(float, pair.split(","))) for pair in text.split(";")]
        return [value for x, y in points for value in (x, y)]
    except ValueError:
        raise UserError(f"{where}: points {text[:60]!r} are not x,y;x,y;...; export it again") from None


def _mask(element: Any, size: tuple[int, int], where: str) -> np.ndarray:
    """bool (H, W). Runs go through the rows of the mask's window, the first of them outside the object."""
    left, top, width, height = (int(value) for value in numbers(element, "left", "top", "width", "height", where=where))
    try:
        runs = [int(part) for part in (element.get("rle") or "").split(",")]
    except ValueError:
        runs = []
    inside = 0 <= left and 0 <= top and left + width <= size[1] and top + height <= size[0]
    if not inside or min(runs, default=-1) < 0 or sum(runs) != width * height:
        raise UserError(
            f"{where}: a mask whose runs do not fill its window, or which is outside the image; export it again"
        )
    mask = np.zeros(size, bool)
    values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    mask[top : top + height, left : left + width] = values.reshape(height, width)
    return mask
