"""The user's own images, listed in a CSV table: id,image,labels[,mask][,polygons][,boxes][,split]."""

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.listings import COLUMNS, REQUIRED_COLUMNS, readable_rows, table_rows
from workflow_scripts.base.plugins import plugin
from workflow_scripts.config.types.datasets import TRUTH, Id, Masked, Place, Reading, by_folder
from workflow_scripts.config.types.parts import Sections
from workflow_scripts.data.edges import around, is_inside
from workflow_scripts.data.index_entries import (
    Entry,
    Faults,
    Progress,
    check_entry,
    check_id,
    class_index,
    gather,
    is_normalised,
    parse_box,
    refuse_normalised,
)
from workflow_scripts.data.polygons import Polygon, drawn
from workflow_scripts.data.readers.images import VOID
from workflow_scripts.run.command import plain


class Csv(Masked):
    kind: Literal["csv"]
    table: str = Field(description="CSV: id,image,labels[,mask][,polygons][,boxes][,split]; paths are relative to it")

    @model_validator(mode="after")
    def _can_be_written(self) -> "Csv":
        """Cells separate names by ";", and "-" alone stands for no label."""
        for name in self.classes:
            if ";" in name or name == "-":
                raise ValueError(f"classes: {name!r} cannot be written in a cell of the table; rename the class")
        return self

    reads: ClassVar = {
        "images": Reading(("table", "orientation")),
        "truth": Reading(("table", "mask_ids"), modules=("data.readers.class_masks",)),
    }

    split_keys: ClassVar = ("ids", "labelled")

    def check(self, where: str, sections: Sections) -> None:
        super().check(where, sections)
        for split in self.unlabelled_evaluation():
            raise UserError(
                f"{where}.use.evaluation: split {split!r} has labelled: false, so nothing can be scored on it; name it in use.predict "
                "instead"
            )

    def has_truth(self) -> bool:
        return any(row.get("mask") or row.get("polygons") for row in readable_rows(Path(self.table)))

    def paths(self, part: str) -> Iterator[Path | str]:
        table, column = Path(self.table), "mask" if part == "truth" else "image"
        yield table
        yield from (table.parent / row[column] for row in readable_rows(table) if row.get(column))

    def places(self, part: str) -> Iterator[Place]:
        if part == "images":
            yield Place("table", self.table, "yours", is_folder=False)

    def ids(self, name: str) -> Iterable[Id]:
        (_, header), *rows = table_rows(Path(self.table))
        if value := self.splits[name].ids:
            rows = [row for row in rows if row[1][header.index("split")] == value]
        return [cells[header.index("id")] for _, cells in rows[: self.limit]]

    def single_labels(self) -> bool:
        cells = [row.get("labels", "") for row in readable_rows(Path(self.table))]
        return bool(cells) and all(len({*map(str.strip, cell.split(";"))} - {""}) < 2 for cell in cells)

    def present(self, known: Mapping[str, list[Id]]) -> Iterator[tuple[str, str, list[bool]]]:
        ids, table = {name for names in known.values() for name in names}, Path(self.table)
        rows = [row for row in readable_rows(table) if row.get("id") in ids]
        for column, what in (("image", "images"), ("mask", TRUTH)):
            yield from by_folder(what, [table.parent / row[column] for row in rows if row.get(column)])


# As labels: the image shows none of the classes. Spreadsheets lengthen the dash, and people may write the words instead.
NO_OBJECT = {*"-\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}"}
NO_CLASS = {*"background empty n/a na negative no none nothing null".split()}
PARTS = {
    "mask": "mask",
    "polygon": "polygons",
    "box": "boxes",
    "split": "split",
}  # words that a misspelt column has in it
MOST_SHOWN = 200  # characters of a header
ALIKE = 0.7  # ratio of difflib, from which a name is taken for a misspelt one
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")  # 1,250 may be a number of four digits
OTHER_REGIONS = {"background": 0, "ignored": VOID}  # which polygons may be of, beside the classes
FEWEST_POINTS = 3
MOST_OF_POLYGON = 40  # characters of one in a message

Row = dict[str, str]


def index(settings: Any, rendered: None, **checking: Any) -> tuple[dict[str, list[str]], list[Entry]]:
    """As `read_csv`, from the settings of a job."""
    listed = {name: split for name, split in plain(settings.splits).items() if split["ids"] is not None}
    unlabelled = {name for name, split in listed.items() if not split["labelled"]}
    splits = {name: split["ids"] for name, split in listed.items()}
    return read_csv(Path(settings.table), settings.classes, splits, unlabelled=unlabelled, **checking)


def truth(settings: Any, index: Any, **_: Any) -> Callable[[str], dict]:
    """Masks and polygons of the table; background alone where it says that an image shows none of the classes."""
    paths, outlines = read_mask_paths(Path(settings.table)), read_outlines(Path(settings.table))
    read_png = plugin("data.readers", "class_masks").reader(paths.__getitem__, settings, index)

    def read(identifier: str) -> dict:
        if identifier in paths:
            return {"label": read_png(identifier)}
        if identifier in outlines:
            size, faults = index.size_of(identifier), Faults()
            polygons = _parse_polygons(
                outlines[identifier], index.classes, f"{settings.table}, id {identifier!r}", faults
            )
            faults.raise_if_any(settings.table)  # as the index has checked them, the table has changed
            return {"label": drawn(polygons, *size)}
        if len(index.classes_of(identifier)):
            raise UserError(
                f"{settings.table}: image {identifier!r} has no mask, but its split is scored; fill in the column 'mask' or "
                "'polygons'"
            )
        return {"label": np.zeros(index.size_of(identifier), np.uint8)}

    return read


def read_csv(
    table: Path,
    classes: Sequence[str],
    splits: dict[str, str],
    limit: int | None = None,
    progress: Progress | None = None,
    faults: Faults | None = None,
    oriented: bool = True,
    threads: int = 1,
    unlabelled: Collection[str] = (),
) -> tuple[dict[str, list[str]], list[Entry]]:
    """Read and check a table of images.

    Columns: `labels` are class names separated by ";", or "-" where the image shows none of them; `boxes` are
    "x0 y0 x1 y1 class" and `polygons` are "class: x0 y0 x1 y1 x2 y2 ..." in pixels, separated by ";";
    `image` and `mask` are paths relative to the folder of the table.

    Args:
        table: a UTF-8 or marked UTF-16 file of values separated by commas, semicolons or tabs, with a header. Columns
            without name and content are left out; further ones are, too, and noted, unless they look like a misspelt one.
        classes: names of the object classes.
        splits: from the name of a split to its value in the column `split`; "" stands for every row.
        limit: keep the first rows of each split only.
        progress: called with (done, total) after each image.
        faults: collects what is suspicious, too.
        oriented: whether EXIF orientations are applied.
        threads: that read images at once.
        unlabelled: names of the splits whose images need no label; none of these is in another split.

    Returns:
        the ids of each split in the order of the table, and an entry for each id in a split in the order of first
        appearance.

    Raises:
        UserError: with all faults of the table and of the images. A row whose split is not asked for is a fault, as a
            mistyped split would otherwise lose images without a word.
    """
    table = Path(table)
    faults = Faults() if faults is None else faults
    rows = _read_rows(table, splits, faults)
    members = {
        name: [identifier for identifier, row in rows.items() if value in ("", row["split"])][:limit]
        for name, value in splits.items()
    }
    for name, ids in members.items():
        if rows and not ids:
            faults.add(f"{table}: split {name!r} is empty, as no row has {splits[name]!r} in the column 'split'")
    public = {identifier for name, ids in members.items() if name not in unlabelled for identifier in ids}
    for name in unlabelled:
        if both := [identifier for identifier in members[name] if identifier in public]:
            faults.add(
                f"{table}: split {name!r} has labelled: false, but {len(both)} of its images, {both[0]!r} first, are in a split with "
                "labels, too; give the other splits a value of their own in the column 'split'"
            )
    union = list(dict.fromkeys(identifier for ids in members.values() for identifier in ids))

    def check(identifier: str, own: Faults) -> Entry | None:
        row, where = rows[identifier], f"{table}, id {identifier!r}"
        labels = _parse_labels(row["labels"], classes, where, own)
        boxes = _parse_boxes(row["boxes"], classes, where, own)
        if not row["labels"].strip("; ") and identifier in public:
            own.add(
                f"{where}: the image has no label; write class names separated by ';', or '-' if it shows none of them, or give it a "
                "split of images to predict only, with `labelled: false`"
            )
        for number in sorted({box[4] for box in boxes} - set(labels)):
            own.add(f"{where}: a box of {classes[number]!r}, which is not among the labels; add it or drop the box")
        polygons = _parse_polygons(row["polygons"], classes, where, own)
        for value in sorted({polygon.value for polygon in polygons} - {label + 1 for label in labels} - {0, VOID}):
            own.add(
                f"{where}: a polygon of {classes[value - 1]!r}, which is not among the labels; add it or drop the polygon"
            )
        if row["mask"] and row["polygons"]:
            own.add(f"{where}: both a mask and polygons; clear one of the cells, as either is the whole truth")
        if row["mask"] and not (table.parent / row["mask"]).is_file():
            own.add(f"{where}: the mask {table.parent / row['mask']} is missing; restore it or leave the cell empty")
        if not row["image"]:
            own.add(f"{where}: the column 'image' is empty; write a path relative to the folder of the table")
            return None
        entry = check_entry(identifier, table.parent / row["image"], labels, boxes, where, own, oriented=oriented)
        if entry is not None:
            _check_inside(polygons, entry.height, entry.width, where, own)
        return entry

    entries = gather(check, union, faults, progress, threads)
    faults.raise_if_any(str(table))
    return members, entries


def read_mask_paths(table: Path) -> dict[str, Path]:
    """Paths of the truth masks by id, for the rows that have one."""
    return {name: Path(table).parent / cell for name, cell in _cells(Path(table), "mask").items()}


def read_outlines(table: Path) -> dict[str, str]:
    """The cells of polygons by id, for the rows that have one."""
    return _cells(Path(table), "polygons")


def _cells(table: Path, column: str) -> dict[str, str]:
    faults = Faults()
    rows = _read_rows(table, {"": ""}, faults)
    faults.raise_if_any(str(table))
    return {identifier: row[column] for identifier, row in rows.items() if row[column]}


def _read_rows(table: Path, splits: dict[str, str], faults: Faults) -> dict[str, Row]:
    """The valid rows by id, every column present and stripped; a table whose header cannot be used is refused."""
    listed = table_rows(table)
    _, header = next(listed)
    _check_header(table, header, splits, faults)
    rows: dict[str, Row] = {}
    first_line: dict[str, int] = {}
    try:
        for number, cells in listed:
            where = f"{table}, line {number}"
            if not any(cells[len(header) :]):
                cells = cells[: len(header)]
            if len(cells) != len(header):
                more = "put a cell that has the separator in it in quotes"
                way_out = more if len(cells) > len(header) else "add those that lack, empty ones too"
                faults.add(f"{where}: {len(cells)} cells, expected {len(header)}; {way_out}")
                continue
            nameless = [cell for name, cell in list(zip(header, cells, strict=True))[1:] if not name and cell]
            if nameless:
                faults.add(f"{where}: {nameless[0]!r} is in a column without a name; name the column or clear the cell")
                continue
            row = dict.fromkeys(COLUMNS, "") | dict(zip(header, cells, strict=True))
            identifier = row["id"]
            try:
                check_id(identifier)
            except UserError as error:
                faults.add(f"{where}: {error}")
                continue
            if identifier in rows:
                faults.add(f"{where}: id {identifier!r} is in line {first_line[identifier]} too; rename or remove one")
                continue
            rows[identifier], first_line[identifier] = row, number
            if not {"", row["split"]} & set(splits.values()):
                faults.add(
                    f"{where}: split {row['split']!r} is none of {', '.join(map(repr, splits.values()))}; correct it or"
                    " name the split in the config"
                )
    except UserError as error:  # the table breaks off; the faults of the rows before are told with it
        faults.add(str(error))
    if not rows and not faults.messages:
        faults.add(f"{table}: the table has no rows below its header; list one image in a line")
    return rows


def _check_header(table: Path, header: list[str], splits: dict[str, str], noted: Faults) -> None:
    """Raise a UserError with everything that is wrong with the header: without it, the rows mean nothing.

    Other columns are noted as suspicious.
    """
    faults, misspelt = Faults(), set[str]()
    if header and not header[0]:  # the numbers of rows, which pandas writes
        noted.suspect("ignored_column", "the first, which has no name")
    for name in filter(None, header):
        if name in COLUMNS:
            continue
        if meant := _meant(name, header):
            misspelt.add(meant)
            faults.add(
                f"{table}: unknown column {name!r}, the nearest known is {meant!r}; rename it to that, or to something less like it "
                "if it holds remarks"
            )
        else:
            noted.suspect("ignored_column", name)
    for name in dict.fromkeys(name for name in header if name and header.count(name) > 1):
        faults.add(f"{table}: the column {name!r} occurs {header.count(name)} times; keep one")
    needs_split = any(splits.values())
    needed = (*REQUIRED_COLUMNS, *(("split",) if needs_split else ()))
    if missing := [repr(name) for name in needed if name not in header and name not in misspelt]:
        told = f"the columns {', '.join(missing)} are" if len(missing) > 1 else f"the column {missing[0]} is"
        faults.add(
            f"{table}: {told} missing; the first line must be like {','.join(COLUMNS)}, and is "
            f"{','.join(header)[:MOST_SHOWN]!r}"
        )
    faults.raise_if_any(str(table))


def _meant(name: str, header: Sequence[str]) -> str | None:
    """The column that a name is a misspelling of, among those that the table has not."""
    absent = [column for column in COLUMNS if column not in header]
    contained = [column for part, column in PARTS.items() if part in name.lower() and column in absent]
    return next(iter(contained or difflib.get_close_matches(name.lower(), absent, n=1, cutoff=ALIKE)), None)


def _parse_labels(text: str, classes: Sequence[str], where: str, faults: Faults) -> list[int]:
    labels = []
    names = [part.strip() for part in text.split(";") if part.strip()]
    if NO_OBJECT.intersection(names):
        if len(names) > 1:
            faults.add(f"{where}: '-' says that no class is shown, and stands beside others; remove it or them")
        return []
    for name in names:
        try:
            labels.append(class_index(name, classes, where))
        except UserError as error:
            parts = [part.strip() for part in re.split(r"[,|/]", name)]
            if len(parts) > 1 and set(parts) <= set(classes):
                faults.add(f"{where}: labels {name!r} are separated otherwise; put ';' between them")
            elif name.lower() in NO_CLASS:
                faults.add(f"{where}: label {name!r} is unknown; write '-' if the image shows none of the classes")
            else:
                faults.add(str(error))
    return labels


def _parse_boxes(
    text: str, classes: Sequence[str], where: str, faults: Faults
) -> list[tuple[float, float, float, float, int]]:
    boxes = []
    for box in filter(None, (part.strip() for part in text.split(";"))):
        cells = box.split(maxsplit=4)
        try:
            cells[:4] = [_point_decimal(cell, where) for cell in cells[:4]]
            if cells[-1] not in classes:  # YOLO has the class first, as a number
                for numbers in (cells[:4], cells[1:]):
                    refuse_normalised(numbers, where)
            if len(cells) != 5:
                raise UserError(f"{where}: box {box!r} is not 'x0 y0 x1 y1 class'; correct it")
            number = class_index(cells[4], classes, where)
            boxes.append((*parse_box(cells[:4], where), number))
        except UserError as error:
            faults.add(str(error))
    return boxes


def _point_decimal(text: str, where: str) -> str:
    """A number with a decimal point where it was written with a comma; other text as it is."""
    if THOUSANDS.fullmatch(text):
        raise UserError(
            f"{where}: {text!r} may be {text.replace(',', '')} or {text.replace(',', '.')}; write decimals with a point, "
            "and thousands without a mark"
        )
    return text.replace(",", ".") if DECIMAL_COMMA.fullmatch(text) else text


def _parse_polygons(text: str, classes: Sequence[str], where: str, faults: Faults) -> list[Polygon]:
    """Polygons in the order in which they are drawn; all but whether they are inside their image is checked."""
    polygons = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        try:
            polygons.append(_parse_polygon(part, classes, where))
        except UserError as error:
            faults.add(str(error))
    return polygons


def _parse_polygon(text: str, classes: Sequence[str], where: str) -> Polygon:
    shown = repr(text if len(text) <= MOST_OF_POLYGON else f"{text[:MOST_OF_POLYGON]}...")
    name, colon, numbers = text.rpartition(":")
    if not colon:
        raise UserError(f"{where}: polygon {shown} is not 'class: x0 y0 x1 y1 x2 y2 ...'; correct it")
    name = name.strip()
    other = OTHER_REGIONS.get(name) if name not in classes else None
    value = class_index(name, classes, where) + 1 if other is None else other
    cells = [_point_decimal(cell, where) for cell in numbers.split()]
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        raise UserError(
            f"{where}: polygon {shown} has what is no number; write x0 y0 x1 y1 x2 y2 ... with spaces between"
        )
    if len(values) % 2:
        raise UserError(
            f"{where}: polygon {shown} has {len(values)} numbers, expected pairs x y; add the one that lacks"
        )
    points = np.array(values, float).reshape(-1, 2)
    if len(np.unique(points, axis=0)) < FEWEST_POINTS:
        raise UserError(
            f"{where}: polygon {shown} has fewer than {FEWEST_POINTS} different points; add some or drop it"
        )
    if is_normalised(values):
        raise UserError(
            f"{where}: polygon {shown} is normalised, from 0 to 1, but pixels are expected; multiply x by the width and y by the "
            "height of the image"
        )
    return Polygon(value, points)


def _check_inside(polygons: Iterable[Polygon], height: int, width: int, where: str, faults: Faults) -> None:
    for polygon in polygons:
        x0, y0, x1, y1 = corners = around([polygon.points])
        if is_inside(corners, height, width):
            continue
        turned = ", or set the data set's `orientation`, if it fits the image on its side"
        faults.add(
            f"{where}: a polygon from {x0:g} {y0:g} to {x1:g} {y1:g} lies outside the image of {width} x {height} pixels; correct it"
            f"{turned if is_inside(corners, width, height) else ''}"
        )
