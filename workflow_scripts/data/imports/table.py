"""A table beside the images: the project's own, a row for each image, a row for each box, or a column of 0 and 1 for each class."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.listings import PICTURE_SUFFIXES
from workflow_scripts.data.edges import Corners
from workflow_scripts.data.imports.records import Contents, Picture, Shape, Told
from workflow_scripts.data.imports.source import Source
from workflow_scripts.data.index_entries import parse_box
from workflow_scripts.data.kinds.csv import NO_CLASS, NO_OBJECT

TITLE = "a table of images (CSV)"
COLUMNS = {
    "id": ("id",),
    "image": (
        *("image", "filename", "file", "file_name", "filepath", "file_path", "path", "image_path", "img", "img_path"),
        *("image_name", "image_id", "name", "id"),
    ),
    "labels": ("labels", "label", "class", "classes", "class_name", "category", "categories", "tags", "target"),
    "boxes": ("boxes",),
    "mask": ("mask", "mask_path", "mask_file"),
    "split": ("split", "set", "subset", "dataset", "partition"),
}
CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x0", "y0", "x1", "y1"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
SIZES = {"width", "height"}  # of the image, where a row is a box
TRUE = {"1", "1.0", "true"}
ONE_HOT = {*TRUE, "0", "0.0", "false", ""}


class Layout(NamedTuple):
    """Where the table has what: places of columns."""

    by: dict[str, int]
    corners: tuple[int, ...]
    classes: dict[str, int]
    others: list[str]


def found(source: Source) -> str:
    """One table with a column of images."""
    tables = [name for name in source.with_suffix(".csv", ".tsv") if _is_table(source, name)]
    return " and ".join(tables)


def read(source: Source, told: Told) -> Contents:
    """Rows of one image are taken together.

    Raises:
        UserError: several tables, or one without a column of images or of labels.
    """
    tables = [name for name in source.with_suffix(".csv", ".tsv") if _is_table(source, name)]
    if len(tables) != 1:
        raise UserError(
            f"{source.path}: {len(tables) or 'no'} tables with a column of images"
            + (f" ({', '.join(tables)}); name one of them as the source" if tables else "; name the column `image`")
        )
    path, rows = source.root / tables[0], _rows(source, tables[0])
    header, cells = rows[0][1], rows[1:]
    layout = _layout(path, header, [row for _, row in cells], told)
    separator = next((one for one in ";|," if any(one in _cell(row, layout, "labels") for _, row in cells)), ";")
    if separator != ";" and "labels" in layout.by:
        told.note("separator", repr(separator))
    names: dict[str, None] = dict.fromkeys(layout.classes)
    folder = str(Path(tables[0]).parent)

    def pictures(told: Told) -> Iterator[Picture]:
        by_image: dict[str, list[tuple[int, list[str]]]] = {}
        for number, row in cells:
            by_image.setdefault(_cell(row, layout, "image"), []).append((number, row))
        for named, group in by_image.items():
            where = f"{path}, line {group[0][0]}"
            try:
                picture = _picture(named, group, layout, separator, path, told)
                picture.path = source.find(_with_suffix(named, source), "" if folder == "." else folder, where, told)
            except UserError as error:
                told.add(str(error))
                continue
            yield picture

    if not layout.classes:
        silent = Told()
        for picture in pictures(silent):
            names.update(dict.fromkeys([*picture.labels, *(shape.name for shape in picture.shapes)]))
        return Contents(sorted(names), pictures)
    return Contents([*names], pictures)


def _is_table(source: Source, name: str) -> bool:
    try:
        rows = _rows(source, name)
    except UserError:
        return False
    header = [cell.lower() for cell in rows[0][1]] if rows else []
    return any(alias in header for alias in COLUMNS["image"]) and len(header) > 1


def _rows(source: Source, name: str) -> list[tuple[int, list[str]]]:
    """Numbers of lines and stripped cells, none of empty lines."""
    text = source.text(name)
    first = text.lstrip().partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), skipinitialspace=True)
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise UserError(
            f"{source.root / name}, line {reader.line_num}: no table ({error}); save it as CSV UTF-8"
        ) from None


def _layout(path: Path, header: list[str], rows: Sequence[list[str]], told: Told) -> Layout:
    lowered = [cell.lower() for cell in header]
    by = {
        what: lowered.index(next(alias for alias in names if alias in lowered))
        for what, names in COLUMNS.items()
        if {*names} & {*lowered}
    }
    if by.get("id") == by["image"]:
        del by["id"]
    corners = next((one for one in CORNERS if {*one} <= {*lowered}), ())
    taken = {*by.values(), *(lowered.index(one) for one in corners)}
    rest = {name: place for place, name in enumerate(header) if name and place not in taken}
    classes = {}
    if "labels" not in by:
        classes = {
            name: place
            for name, place in rest.items()
            if all(len(row) <= place or row[place].lower() in ONE_HOT for row in rows)
        }
        if not classes:
            raise UserError(
                f"{path}: no column of labels, and none of 0 and 1; name the column of the class names `labels` (found: "
                f"{', '.join(header)[:200]})"
            )
    others = [name for name in rest if name not in classes and not (corners and name.lower() in SIZES)]
    for name in others:
        told.note("column", name)
    return Layout(by, tuple(lowered.index(one) for one in corners), classes, others)


def _cell(row: list[str], layout: Layout, what: str) -> str:
    place = layout.by.get(what, len(row))
    return row[place] if place < len(row) else ""


def _picture(
    named: str, group: list[tuple[int, list[str]]], layout: Layout, separator: str, path: Path, told: Told
) -> Picture:
    """A picture of its rows; its path is not looked up yet."""
    labels: dict[str, None] = {}
    shapes: list[Shape] = []
    seen = False
    for number, row in group:
        where = f"{path}, line {number}"
        names = [part.strip() for part in _cell(row, layout, "labels").split(separator) if part.strip()]
        names += [name for name, place in layout.classes.items() if place < len(row) and row[place].lower() in TRUE]
        seen = seen or bool(names or layout.classes)
        for word in [name for name in names if name in NO_OBJECT or name.lower() in NO_CLASS]:
            if word not in NO_OBJECT:
                told.note("background_word", repr(word))
            names.remove(word)
        corners = [row[place] if place < len(row) else "" for place in layout.corners]
        if any(corners):
            shapes += [Shape(name, _corners(corners, where)) for name in names]
        for text in filter(None, map(str.strip, _cell(row, layout, "boxes").split(";"))):
            cells = text.split(maxsplit=4)
            if len(cells) != 5:
                raise UserError(f"{where}: box {text[:60]!r} is not 'x0 y0 x1 y1 class'; correct it")
            shapes.append(Shape(cells[4], _corners(cells[:4], where)))
        labels.update(dict.fromkeys(names))
    first = group[0][1]
    mask = _cell(first, layout, "mask")
    return Picture(
        Path(named),
        f"{path}, line {group[0][0]}",
        labels=tuple(labels),
        shapes=shapes,
        split=_cell(first, layout, "split"),
        mask=path.parent / mask.replace("\\", "/") if mask else None,
        annotated=seen,
        identifier=_cell(first, layout, "id"),
    )


def _corners(cells: Sequence[str], where: str) -> Corners:
    x0, y0, x1, y1 = parse_box(cells, where)
    return x0, y0, x1, y1


def _with_suffix(named: str, source: Source) -> str:
    """A name as files have it: where the ending is left away, the one that the only file of that name has."""
    if Path(named).suffix.lower() in PICTURE_SUFFIXES or not named:
        return named
    names = [name for name in source.all_pictures.values() if Path(name).stem == Path(named).name]
    return names[0] if len(names) == 1 else named
