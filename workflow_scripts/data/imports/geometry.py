"""From the objects of a picture to pixels: boxes, and a label map by the pixel rule of pycocotools."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.boxes import region
from workflow_scripts.data.edges import Corners
from workflow_scripts.data.imports.records import Picture, Shape
from workflow_scripts.data.readers import coco_segmentation
from workflow_scripts.data.readers.images import ORIENTATION, TURNS, VOID, open_image

CORNERS = 72  # of a circle; its area is then 0.13 % too small


def stored_size(path: str | os.PathLike) -> tuple[int, int]:
    """Height and width of an image as its file stores it.

    Raises:
        UserError: no image.
    """
    return header(path)[0]


def header(path: str | os.PathLike) -> tuple[tuple[int, int], int]:
    """Height and width of an image as its file stores it, and its EXIF orientation flag; pixels are not read.

    Raises:
        UserError: missing, or no image.
    """
    try:
        with open(path, "rb") as stream:
            image = open_image(stream, path)
            try:
                flag = image.getexif().get(ORIENTATION)
            except Exception:  # damaged data make the reader raise anything; the pixels are sound
                flag = 1
            return (image.height, image.width), flag if flag in TURNS else 1
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); check the path and its permissions"
        ) from None


def in_pixels(picture: Picture, size: tuple[int, int]) -> list[Shape]:
    """The shapes with coordinates in pixels: shares times the sides of the image, height and width.

    A corner that was a whole number of pixels, or one with few decimals, is that again where rounding to the decimals that were
    written can have moved it so far.
    """
    if picture.decimals is None:
        return picture.shapes
    height, width = size
    scale = np.array([width, height], float)
    corner, point = (
        share * 10.0**-picture.decimals * scale for share in (0.75, 0.5)
    )  # centre and half of a side; one number
    shapes = []
    for shape in picture.shapes:
        box: Corners | None = None
        if shape.box:
            x0, y0, x1, y1 = simplest(np.array(shape.box).reshape(2, 2) * scale, corner).ravel().tolist()
            box = x0, y0, x1, y1
        outline = shape.outline
        if outline:
            outline = [simplest(np.array(part).reshape(-1, 2) * scale, point).ravel().tolist() for part in outline]
        shapes.append(replace(shape, box=box, outline=outline))
    return shapes


def coarseness(decimals: int, size: tuple[int, int]) -> float:
    """By how many pixels a corner may be off that was written with so many decimals."""
    return 0.75 * 10.0**-decimals * max(size)


def simplest(values: np.ndarray, moved: np.ndarray | float) -> np.ndarray:
    """Each value with the fewest decimals, up to three, that rounding can have moved it from; else with six.

    Args:
        moved: by how much, pixels.
    """
    found = np.round(values, 6)
    for decimals in (3, 2, 1, 0):
        rounded = np.round(values, decimals)
        found = np.where(np.abs(values - rounded) <= np.minimum(moved, 0.5) + 1e-9, rounded, found)
    return found


def box_of(shape: Shape) -> Corners | None:
    """The box of a shape: its own, or the one around its outline."""
    return shape.box or (coco_segmentation.corners(shape.outline) if shape.outline else None)


def drawn(
    shapes: Sequence[Shape], values: Mapping[str, int], size: tuple[int, int], where: str
) -> tuple[np.ndarray, set[str]]:
    """The label map of an image.

    From below: background, boxes without an outline (255), crowds, and the outlines by their layers. A pixel belongs to an outline
    by the rule of pycocotools, as in COCO's own masks.

    Args:
        shapes: with coordinates in pixels.
        values: of each class.
        size: height and width of the image.
        where: for messages.

    Returns:
        uint8 (H, W), and the classes that lie partly below others.

    Raises:
        UserError: an outline that does not fit the image.
    """
    label, taken, below = np.zeros(size, np.uint8), np.zeros(size, bool), set[str]()
    names = {value: name for name, value in values.items()}
    for shape in shapes:
        if not shape.outline and shape.box:
            label[region(np.array(shape.box), *size)] = VOID
    for shape in sorted((one for one in shapes if one.outline), key=lambda one: (not one.crowd, one.layer)):
        inside = rle.decode(coco_segmentation.encode(shape.outline, size, where)).astype(bool)
        below |= {names[int(value)] for value in np.unique(label[inside & taken])} - {shape.name}
        label[inside] = values[shape.name]
        taken |= inside if not shape.crowd else False
    return label, below


def encoded(mask: np.ndarray) -> dict[str, Any]:
    """A mask (H, W) as run lengths of COCO, as text."""
    runs = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in runs["size"]], "counts": runs["counts"].decode("ascii")}


def box_corners(box: Corners) -> np.ndarray:
    """The four corners of a box, (4, 2), clockwise from the upper left."""
    x0, y0, x1, y1 = box
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)


def ellipse(x: float, y: float, across: float, down: float) -> np.ndarray:
    """Corners of a polygon on an ellipse, (72, 2)."""
    angles = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    return np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)


def turned(points: np.ndarray, centre: tuple[float, float], degrees: float) -> np.ndarray:
    """Points (N, 2), turned clockwise in the picture around a centre."""
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return (points - centre) @ matrix + centre


def image_path(folder: Path, path: Path) -> str:
    """A path relative to a folder, with slashes."""
    return Path(os.path.relpath(path, folder)).as_posix()
