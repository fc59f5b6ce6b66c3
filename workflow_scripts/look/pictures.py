"""Drawing: label maps in the colours of PASCAL VOC, heat maps, montages with titles and a legend.

Pure functions from arrays to pictures; nothing is read or written here. Equal content gives equal bytes.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from workflow_scripts.data.maps import upsampled

VOID = 255
CELL = 260  # pixels, the longest side of a picture in a montage
GAP, MARGIN = 10, 16
TITLES = 150  # pixels, the column of row titles
TEXT, HEADING, TITLE = 14, 15, 20  # pixels
INK, FAINT, PAPER, FRAME = (32, 32, 32), (112, 112, 112), (255, 255, 255), (150, 150, 150)


# Label maps, soft maps and boxes


def palette() -> np.ndarray:
    """Colours of PASCAL VOC, (256, 3) uint8: the bits of the label spread over red, green and blue, high bits first."""
    labels = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((labels >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


PALETTE = palette()


def label_png(label: np.ndarray) -> bytes:
    """A palette PNG of a label map uint8 (H, W), in the colours of PASCAL VOC."""
    image = Image.fromarray(label)
    image.putpalette(PALETTE.tobytes())
    return png(image)


def fitted(height: int, width: int) -> tuple[int, int]:
    """Height and width at which a picture is shown: at most `CELL` a side, a small one enlarged by a whole number."""
    factor = CELL / max(height, width)
    factor = math.floor(factor) if factor >= 1 else factor
    return max(1, round(height * factor)), max(1, round(width * factor))


def shown(image: np.ndarray) -> np.ndarray:
    """An image uint8 (H, W, 3) at the size of a montage."""
    height, width = fitted(*image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.BICUBIC))


def overlay(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """`blended` at the size of a montage, the label map resized by nearest neighbour."""
    picture = shown(image)
    height, width = picture.shape[:2]
    return blended(picture, np.asarray(Image.fromarray(label).resize((width, height), Image.NEAREST)))


def blended(image: np.ndarray, label: np.ndarray, opacity: float = 0.65) -> np.ndarray:
    """A label map over its image in grey, so that every colour is that of a label.

    Args:
        image: uint8 (H, W, 3) RGB.
        label: uint8 (H, W): 0 shows the image, other labels their colour, 255 cream; edges between labels are white.
    """
    below = _grey(image)
    above = np.where(label[..., None] > 0, PALETTE[label].astype(np.float32), below)
    picture = _rounded(below + opacity * (above - below))
    picture[_edges(label)] = 255
    return picture


def heat_map(image: np.ndarray, values: np.ndarray, opacity: float = 0.65) -> np.ndarray:
    """A soft map over its image in grey, from black (0) to light yellow (1), a perceptually uniform scale.

    Args:
        image: uint8 (H, W, 3) RGB.
        values: (h, w) of any size, in [0, 1].

    Returns:
        uint8, at the size of a montage.
    """
    below = _grey(shown(image))
    values = upsampled(values[None], *below.shape[:2])[0]
    colours = 255 * matplotlib.colormaps["inferno"](np.clip(values, 0, 1))[..., :3]
    return _rounded(below + opacity * (colours - below))


def class_map(image: np.ndarray, scores: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Soft maps of several classes in one picture: the strongest class gives the colour, its score the opacity.

    Args:
        image: uint8 (H, W, 3) RGB.
        scores: (K, h, w) of any size, >= 0; each is divided by its maximum.
        classes: (K,) 0-based.

    Returns:
        uint8, at the size of a montage.
    """
    below = _grey(shown(image))
    if not len(classes):
        return _rounded(below)
    scores = upsampled(divided_by_peak(scores), *below.shape[:2])
    colours = PALETTE[np.asarray(classes) + 1][scores.argmax(axis=0)].astype(np.float32)
    opacity = np.clip(scores.max(axis=0), 0, 1)[..., None]
    return _rounded(below + 0.9 * opacity * (colours - below))


def draw_boxes(picture: np.ndarray, boxes: np.ndarray, size: tuple[int, int], labels: Any = None) -> np.ndarray:
    """Boxes in the colours of their classes, or of the given labels.

    Args:
        picture: uint8 (h, w, 3).
        boxes: (M, 5): x0, y0, x1, y1 in pixels of the image, 0-based class.
        size: height and width of the image in pixels.
    """
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    rows, columns = picture.shape[0] / size[0], picture.shape[1] / size[1]
    labels = boxes[:, 4].astype(int) + 1 if labels is None else labels
    for (x0, y0, x1, y1), label in zip(boxes[:, :4], labels, strict=True):
        corners = [round(float(value)) for value in (x0 * columns, y0 * rows, x1 * columns - 1, y1 * rows - 1)]
        corners[2:] = max(corners[0], corners[2]), max(corners[1], corners[3])
        draw.rectangle([corners[0] - 1, corners[1] - 1, corners[2] + 1, corners[3] + 1], outline=PAPER, width=4)
        draw.rectangle(corners, outline=_colour(label), width=2)
    return np.asarray(image)


def outlined(picture: np.ndarray, zone: np.ndarray) -> np.ndarray:
    """A white line around a zone, bool (h, w) of any size, on a picture uint8 (H, W, 3)."""
    height, width = picture.shape[:2]
    zone = np.asarray(Image.fromarray(zone.astype(np.uint8)).resize((width, height), Image.NEAREST))
    picture = picture.copy()
    picture[_edges(zone)] = 255
    return picture


def _grey(picture: np.ndarray) -> np.ndarray:
    return np.repeat(picture.astype(np.float32).mean(axis=2, keepdims=True), 3, axis=2)


def _rounded(picture: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def divided_by_peak(scores: np.ndarray) -> np.ndarray:
    """Maps (K, h, w), >= 0, each divided by its maximum: float32 in [0, 1]."""
    scores = scores.astype(np.float32)
    return scores / np.maximum(scores.max(axis=(1, 2), keepdims=True, initial=0), 1e-5)


def _edges(label: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour has another label; void has no edge, being one already."""
    edges = np.zeros(label.shape, bool)
    known = label != VOID
    edges[:, :-1] |= (label[:, :-1] != label[:, 1:]) & known[:, :-1] & known[:, 1:]
    edges[:-1] |= (label[:-1] != label[1:]) & known[:-1] & known[1:]
    return edges


def _colour(label: int) -> tuple[int, int, int]:
    red, green, blue = PALETTE[label].tolist()
    return red, green, blue


# Cells of a montage


@dataclass(frozen=True)
class Cell:
    """One picture of a montage, uint8 (h, w, 3), what stands below it, and the labels whose colours it shows."""

    picture: np.ndarray
    caption: str = ""
    labels: frozenset[int] = frozenset()


def image_cell(
    image: np.ndarray, labels: Sequence[int] | np.ndarray, boxes: np.ndarray, classes: Sequence[str]
) -> Cell:
    """The image itself with its boxes; its caption names its classes."""
    picture = draw_boxes(shown(image), boxes, image.shape[:2])
    colours = frozenset(int(box[4]) + 1 for box in boxes)
    return Cell(picture, ", ".join(classes[int(label)] for label in labels) or "no labels", colours)


def label_cell(image: np.ndarray, label: np.ndarray, classes: Sequence[str]) -> Cell:
    """A label map over its image; the caption names the classes in it, the largest first."""
    counts = np.bincount(label.ravel(), minlength=256)
    present = [int(value) for value in np.argsort(-counts, kind="stable") if counts[value] and value]
    names = [label_name(value, classes) for value in present if value != VOID]
    return Cell(overlay(image, label), ", ".join(names) or "background only", frozenset(present))


def label_name(label: int, classes: Sequence[str]) -> str:
    """The name of a label of a label map."""
    if label == VOID:
        return "void"
    return "background" if label == 0 else classes[label - 1] if label <= len(classes) else f"label {label}"


# Montage


@dataclass(frozen=True)
class Row:
    """Pictures of one image; None leaves a place empty. The first line of the title is its id."""

    title: Sequence[str]
    cells: Sequence[Cell | None]


@dataclass(frozen=True)
class Block:
    """Rows that share their columns. A column's title has one or two lines."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Row]


def montage(title: str, blocks: Sequence[Block], classes: Sequence[str]) -> Image.Image:
    """Blocks below each other, then a legend of the classes whose colours occur."""
    columns = max((len(row.cells) for block in blocks for row in block.rows), default=1)
    width = 2 * MARGIN + TITLES + columns * (CELL + GAP)
    strips = [_line(title, width, TITLE, INK)]
    for block in blocks:
        if block.heading:
            strips.append(_line(block.heading, width, HEADING, FAINT))
        strips.append(_column_titles(block.columns, width))
        strips += [_row(row, width) for row in block.rows]
    labels = {label for block in blocks for row in block.rows for cell in row.cells if cell for label in cell.labels}
    strips += _legend(sorted(labels), classes, width)
    picture = Image.new("RGB", (width, sum(strip.height for strip in strips) + MARGIN), PAPER)
    top = 0
    for strip in strips:
        picture.paste(strip, (0, top))
        top += strip.height
    return picture


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def shortened(text: str, width: int, size: int) -> str:
    """A text that fits into so many pixels, its middle left out if need be."""
    if _font(size).getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: (kept + 1) // 2]}...{text[len(text) - kept // 2 :]}"
        if _font(size).getlength(short) <= width:
            return short
    return "..."


def _line(text: str, width: int, size: int, colour: tuple[int, int, int]) -> Image.Image:
    strip = Image.new("RGB", (width, round(1.3 * size) + MARGIN), PAPER)
    ImageDraw.Draw(strip).text((MARGIN, MARGIN), shortened(text, width - 2 * MARGIN, size), colour, _font(size))
    return strip


def _column_titles(titles: Sequence[str], width: int) -> Image.Image:
    lines = [title.split("\n") for title in titles]
    strip = Image.new("RGB", (width, max(map(len, lines), default=1) * (HEADING + 4) + 14), PAPER)
    draw = ImageDraw.Draw(strip)
    for column, parts in enumerate(lines):
        for number, part in enumerate(parts):
            centre = MARGIN + TITLES + column * (CELL + GAP) + CELL // 2
            text = shortened(part, CELL, HEADING)
            draw.text((centre, 8 + number * (HEADING + 4)), text, FAINT if number else INK, _font(HEADING), anchor="ma")
    return strip


def _row(row: Row, width: int) -> Image.Image:
    captions = any(cell and cell.caption for cell in row.cells)
    height = max((cell.picture.shape[0] for cell in row.cells if cell), default=0)
    strip = Image.new("RGB", (width, max(height + 2 + (TEXT + 6) * captions, len(row.title) * (TEXT + 4)) + GAP), PAPER)
    draw = ImageDraw.Draw(strip)
    for number, line in enumerate(row.title):
        text = shortened(line, TITLES - GAP, TEXT)
        draw.text((MARGIN, 1 + number * (TEXT + 4)), text, FAINT if number else INK, _font(TEXT))
    for column, cell in enumerate(row.cells):
        if cell is None:
            continue
        rows, columns = cell.picture.shape[:2]
        centre = MARGIN + TITLES + column * (CELL + GAP) + CELL // 2
        left, top = centre - columns // 2, 1
        strip.paste(Image.fromarray(cell.picture), (left, top))
        draw.rectangle([left - 1, top - 1, left + columns, top + rows], outline=FRAME)
        draw.text((centre, height + 6), shortened(cell.caption, CELL, TEXT), FAINT, _font(TEXT), anchor="ma")
    return strip


def _legend(labels: Sequence[int], classes: Sequence[str], width: int) -> list[Image.Image]:
    """Swatches with names, as many in a line as fit."""
    lines: list[list[tuple[int, str, int]]] = [[]]
    right, swatch = MARGIN, TEXT + 4
    for label in labels:
        name = shortened(label_name(label, classes), CELL, TEXT)
        length = swatch + 6 + math.ceil(_font(TEXT).getlength(name)) + 18
        if right + length > width - MARGIN and lines[-1]:
            lines.append([])
            right = MARGIN
        lines[-1].append((label, name, right))
        right += length
    strips = []
    for line in lines if labels else []:
        strip = Image.new("RGB", (width, swatch + 8), PAPER)
        draw = ImageDraw.Draw(strip)
        for label, name, left in line:
            draw.rectangle([left, 4, left + swatch, 4 + swatch], fill=_colour(label), outline=FRAME)
            draw.text((left + swatch + 6, 4 + swatch // 2), name, INK, _font(TEXT), anchor="lm")
        strips.append(strip)
    return strips


def png(picture: Image.Image) -> bytes:
    """The bytes of a PNG file, without a time or a program's name in it."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
