"""From the pictures of a source to rows of the project's table: names settled, everything checked, ids and splits given."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.progress import progress
from workflow_scripts.data.edges import Corners
from workflow_scripts.data.imports.geometry import box_of, coarseness, drawn, header, in_pixels
from workflow_scripts.data.imports.ids import ids_of
from workflow_scripts.data.imports.records import Contents, Picture, Shape, Told
from workflow_scripts.data.imports.source import NO_SPLIT, SPLITS, Source
from workflow_scripts.data.index_entries import Entry, Faults, check_entry, nearest_name
from workflow_scripts.data.kinds.csv import NO_OBJECT
from workflow_scripts.data.readers.images import VOID, read_label_png
from workflow_scripts.data.suspicions import MaskChecks, suspect_entries

AT_ONCE = 256  # pictures that wait for a thread
MOST_CLASSES = 254  # a label map has 8 bits: 0 is the background, 255 is ignored
IGNORED = {"ignored", "ignore", "__ignore__"}  # the export of this project; LabelMe's lists
BACKGROUND = {"background", "_background_", "__background__"}
EVERY = ""  # the value of the split of all rows
BEST = ("val", "test")  # to score on


@dataclass
class Wishes:
    """What the user asks for.

    Attributes:
        classes: in their order; those of the source, as far as images show them, if empty.
        renamed: from a name of the source to a class.
        negatives: whether images without annotation show none of the classes, else they are left out.
        orientation: "shown" or "stored"; by the sizes that annotations state if empty.
    """

    classes: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    negatives: bool = False
    orientation: str = ""


@dataclass(slots=True)
class Row:
    """One image of the table.

    Attributes:
        name: of the file, below its folder.
        given: an id of the source.
        around: how many of the boxes are around outlines, not drawn as boxes.
        mask: a truth mask that stays as it is.
        is_drawn: whether one is written, of outlines or a mask of the source; they are read again then.
    """

    path: Path
    name: str
    given: str
    labels: tuple[str, ...]
    boxes: tuple[tuple[Corners, str], ...]
    around: int
    entry: Entry
    split: str
    mask: Path | None
    is_drawn: bool
    identifier: str = ""

    @property
    def is_true(self) -> bool:
        """Whether the truth of the image is known: by a mask, or as it shows nothing."""
        return self.is_drawn or self.mask is not None or not self.labels


@dataclass
class Table:
    """What is written.

    Attributes:
        splits: as a data set has them, the one of all rows first.
        use: names of the splits, as a data set has it.
    """

    rows: list[Row]
    classes: tuple[str, ...]
    splits: dict[str, dict[str, str]]
    use: dict[str, str | list[str]]
    orientation: str

    @property
    def values(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.classes, start=1)}


def settled(source: Source, contents: Contents, wishes: Wishes, told: Told, threads: int) -> Table:
    """Everything that is read and checked, and how it will be written.

    Args:
        told: takes faults, each of which leaves an image out; what is suspicious; and notes.
        threads: that read images at once.

    Raises:
        UserError: nothing is left, or the classes cannot be used.
    """
    orientation = wishes.orientation or "shown"
    own = Told()
    rows = list(_checked(source, contents, wishes, own, orientation == "shown", threads))
    votes = own.votes
    if not wishes.orientation and votes["stored"] and not votes["shown"]:
        orientation, own = "stored", Told()
        rows = list(_checked(source, contents, wishes, own, False, threads))
        own.note("turned", f"{votes['stored']} photographs")
    told.take(own)
    classes = _classes(rows, contents, wishes, told)
    rows = _with_sound_masks(rows, classes, orientation == "shown", told)
    if not rows:
        _refuse_nothing(source, told)
    for row, identifier in zip(rows, ids_of([row.name for row in rows], [row.given for row in rows]), strict=True):
        row.identifier = identifier
    final = {row.name: row.identifier for row in rows}
    told.rename(final)
    numbers = {name: number for number, name in enumerate(classes)}
    for row in rows:
        boxes = row.entry.boxes.copy()
        boxes[:, 4] = [numbers[name] for _, name in row.boxes]
        labels = tuple(sorted(numbers[name] for name in row.labels))
        row.entry = replace(row.entry, id=row.identifier, labels=labels, boxes=boxes)
    splits, use = _splits(rows, told)
    listed = {name: split["ids"] for name, split in splits.items() if "ids" in split}
    members = {name: [row.identifier for row in rows if value in (EVERY, row.split)] for name, value in listed.items()}
    suspect_entries([row.entry for row in rows], members, classes, told)
    return Table(rows, classes, splits, use, orientation)


def masks(table: Table, contents: Contents, wishes: Wishes) -> Iterator[tuple[Row, np.ndarray]]:
    """The masks that are drawn, one after another: rows, and label maps uint8 (H, W)."""
    rows = {row.path: row for row in table.rows if row.is_drawn}
    for picture in contents.pictures(Told()):
        if not rows:
            return
        if row := rows.pop(picture.path, None):
            size, picture = (row.entry.height, row.entry.width), _named(picture, wishes, Told())
            yield row, _label(picture, table.classes, size, table.orientation == "shown")[0]


def _checked(
    source: Source, contents: Contents, wishes: Wishes, told: Told, oriented: bool, threads: int
) -> Iterator[Row]:
    """Rows of all pictures that have no fault, in the source's order."""
    seen: dict[Path, str] = {}
    masks_given: set[str] = set()

    def usable() -> Iterator[Picture]:
        for picture in contents.pictures(told):
            if picture.mask:
                masks_given.add(os.path.abspath(picture.mask))
            if picture.path in seen:
                told.add(
                    f"{picture.where}: {picture.path} is annotated in {seen[picture.path]}, too; delete one of the two"
                )
                continue
            seen[picture.path] = picture.where
            name = source.all_pictures.get(str(picture.path), picture.path.name)
            if not picture.annotated and not wishes.negatives:
                told.note("unannotated", name)
                continue
            yield picture
        if source.path.is_dir() and not contents.complete:
            for path, name in source.all_pictures.items():
                if Path(path) not in seen and os.path.abspath(path) not in masks_given:
                    if wishes.negatives:
                        yield Picture(Path(path), path)
                    else:
                        told.note("unnamed", name)

    def check(picture: Picture) -> tuple[Row | None, Told]:
        own = Told()
        try:
            return _row(source, picture, wishes, own, oriented), own
        except UserError as error:
            own.add(str(error))
            return None, own

    pictures = usable()
    with ThreadPoolExecutor(threads) as pool:
        chunks = iter(lambda: list(islice(pictures, AT_ONCE)), [])
        results = (result for chunk in chunks for result in pool.map(check, chunk))
        for row, own in progress(results, len(source.all_pictures), "checked"):
            told.take(own)
            if row is not None:
                yield row


def _row(source: Source, picture: Picture, wishes: Wishes, own: Told, oriented: bool) -> Row | None:
    name = source.all_pictures.get(str(picture.path), picture.path.name)
    stored, flag = header(picture.path)
    shown = stored[::-1] if flag >= 5 else stored
    size = shown if oriented else stored
    if shown != stored:
        for orientation, one in (("shown", shown), ("stored", stored)):
            own.votes[orientation] += picture.size == one
    picture = _named(picture, wishes, own)
    if picture.decimals is not None and picture.shapes and coarseness(picture.decimals, size) > 0.5:
        own.note("coarse", name)
    shapes = in_pixels(picture, size)
    objects = [shape for shape in shapes if shape.name not in IGNORED | BACKGROUND or shape.name in wishes.classes]
    boxes = [(box, shape.name) for shape in objects if (box := box_of(shape))]
    labels = tuple(dict.fromkeys([*picture.labels, *(shape.name for shape in objects)]))
    places = {label: place for place, label in enumerate(labels)}
    entry = check_entry(
        name,
        picture.path,
        places.values(),
        [(*box, places[label]) for box, label in boxes],
        picture.where,
        own,
        stated=picture.size,
        oriented=oriented,
    )
    if entry is None or own.messages:
        return None
    is_drawn = picture.drawing is not None or _can_be_drawn(shapes, labels, name, own)
    if is_drawn:
        known = tuple(dict.fromkeys([*labels, *filter(None, picture.drawn_names)]))
        label, below = _label(replace(picture, shapes=shapes, decimals=None), known, size, oriented)
        if below:
            own.note("overlap", name)
        bare = (
            {shape.name for shape in objects if shape.box and not shape.outline} if picture.drawing is None else set()
        )
        if bare:
            own.note("bare_box", name)
        expected = [places[label] for label in labels if label not in bare]  # boxes alone have no pixels, as is noted
        MaskChecks(known, own).add(name, label, expected)
    split = picture.split.strip()
    split = "" if split.lower() in NO_SPLIT else SPLITS.get(split.lower(), split)
    around = sum(1 for shape in objects if shape.outline and not shape.box)
    given = picture.identifier
    return Row(picture.path, name, given, labels, tuple(boxes), around, entry, split, picture.mask, is_drawn)


def _label(
    picture: Picture, classes: Sequence[str], size: tuple[int, int], oriented: bool
) -> tuple[np.ndarray, set[str]]:
    """The mask of a picture whose classes have their new names, and the classes that lie partly below others."""
    values = _values(classes)
    if picture.drawing is None:
        return drawn(in_pixels(picture, size), values, size, picture.where)
    table = np.zeros(VOID + 1, np.uint8)
    table[VOID] = VOID
    for place, name in enumerate(picture.drawn_names, start=1):
        table[place] = values.get(name, 0)
    return table[picture.drawing(size, oriented)], set()


def _can_be_drawn(shapes: Sequence[Shape], labels: Sequence[str], name: str, own: Told) -> bool:
    """Whether outlines, and boxes where they lack, say of every label where it is."""
    if not any(shape.outline for shape in shapes):
        return False
    if {*labels} - {shape.name for shape in shapes if shape.outline or shape.box}:
        own.note("no_mask", name)
        return False
    return True


def _values(classes: Sequence[str]) -> dict[str, int]:
    """Values in the mask: of the classes, and of the words that stand for no class."""
    words = {**dict.fromkeys(IGNORED, VOID), **dict.fromkeys(BACKGROUND, 0)}
    return words | {name: number for number, name in enumerate(classes, start=1)}


def _named(picture: Picture, wishes: Wishes, own: Told) -> Picture:
    """The picture with classes under their new names, without those that are not asked for."""

    def new(name: str) -> str | None:
        name = wishes.renamed.get(name, name)
        if not wishes.classes or name in wishes.classes:
            return name
        own.note("deselected", name)
        return None

    shapes = []
    for shape in picture.shapes:
        name = wishes.renamed.get(shape.name, shape.name)
        if name in IGNORED | BACKGROUND and name not in wishes.classes:
            own.note("ignored_word" if name in IGNORED else "background_region", repr(name))
        else:
            name = new(shape.name) or ""
        if name:
            shapes.append(replace(shape, name=name))
    labels = tuple(dict.fromkeys(filter(None, map(new, picture.labels))))
    drawn_names = [wishes.renamed.get(name, name) for name in picture.drawn_names]
    drawn_names = [name if not wishes.classes or name in wishes.classes else "" for name in drawn_names]
    return replace(picture, shapes=shapes, labels=labels, drawn_names=drawn_names)


def _classes(rows: Sequence[Row], contents: Contents, wishes: Wishes, told: Told) -> tuple[str, ...]:
    """Names that can be written, in the order that is asked for, or the source's."""
    counts = Counter(name for row in rows for name in row.labels)
    listed = dict.fromkeys(wishes.renamed.get(name, name) for name in contents.classes)
    for name in wishes.classes:
        if name not in listed and name not in counts:
            near = nearest_name(name, {**listed, **counts}) if listed or counts else "none"
            raise UserError(f"--classes: the source has no class {name!r}, the nearest is {near!r}; correct it")
    words = IGNORED | BACKGROUND
    names = wishes.classes or tuple(name for name in {**listed, **dict.fromkeys(counts)} if counts[name])
    for name in listed:
        if name not in names and not wishes.classes and name not in words:
            told.note("unused", name)
    for name in names:
        if not name or name != name.strip() or not name.isprintable() or ";" in name or name in NO_OBJECT:
            raise UserError(
                f"class {name!r} cannot be written in a cell of the table, where ';' separates classes and '-' stands for none; give it "
                f"another name: --rename {name!r}=NEW"
            )
    lowered = Counter(name.lower() for name in names)
    for name in names:
        if lowered[name.lower()] > 1:
            told.note("case", name)
    if len(names) > MOST_CLASSES:
        raise UserError(
            f"{len(names)} classes, expected 1 to {MOST_CLASSES}; name those that count: --classes {names[0]!r} ..."
        )
    if rows and not names:
        raise UserError("no image shows any class; annotate some, or name the source of the annotations")
    return names


def _splits(rows: Sequence[Row], told: Told) -> tuple[dict[str, dict[str, str]], dict[str, str | list[str]]]:
    """Splits, and what they are used for, as a data set has them.

    A split that is scored needs the truth of all its images. Where only some of them have it, they become a split of their own.
    """
    has_masks = any(row.mask or row.is_drawn for row in rows)
    names = [name for name in dict.fromkeys(row.split for row in rows) if name]
    scored = [name for name in (*BEST, *names, EVERY) if name in {row.split for row in rows} and _is_scored(rows, name)]
    parts: list[str] = []
    if has_masks and not scored:
        first = next(
            name for name in (*BEST, *names, EVERY) if any(_has_mask(row) for row in rows if row.split == name)
        )
        told.note("partly", first or "all")
        parts = [f"{first or 'all'}_{what}" for what in ("masked", "unmasked")]
        for row in rows:
            if row.split == first:
                row.split = parts[0] if row.is_true else parts[1]
        scored = [parts[0]]
        names = [name for name in dict.fromkeys(row.split for row in rows) if name]
    keys = {name: _key(name) for name in names}
    splits: dict[str, dict[str, str]] = {"all": {"ids": EVERY}} | {keys[name]: {"ids": name} for name in names}
    train = "train" if "train" in names else "all"
    if train == "all" and "train_masked" in parts:  # all but the other splits, one taken off after another
        for number, name in enumerate(set(names) - {*parts}):
            train, before = f"rest_{number}", train
            splits[train] = {"of": before, "without": keys[name]}
    evaluation = keys.get(scored[0], "all") if scored else next((name for name in BEST if name in names), train)
    masks = train if not has_masks or train in scored or scored == [EVERY] else evaluation
    return splits, {"train": train, "masks": masks, "evaluation": [evaluation]}


def _has_mask(row: Row) -> bool:
    return row.is_drawn or row.mask is not None


def _is_scored(rows: Sequence[Row], name: str) -> bool:
    """Whether a split has masks, and the truth of all its images."""
    mine = [row for row in rows if row.split == name]
    return any(map(_has_mask, mine)) and all(row.is_true for row in mine)


def _key(name: str) -> str:
    """A name of a split that settings can have."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "other"


def _with_sound_masks(rows: list[Row], classes: Sequence[str], oriented: bool, told: Told) -> list[Row]:
    """The rows without those whose given mask cannot be used; of the others, masks are compared with the labels."""
    given = [row for row in rows if row.mask]
    if not given:
        return rows
    told.note("mask_values", f"{len(given)} masks")
    checks, refused = MaskChecks(classes, told), set[str]()
    for row in progress(given, len(given), "masks compared"):
        try:
            label = read_label_png(row.mask or "", None, len(classes), oriented, "export it with these values, ")
            if label.shape != (size := (row.entry.height, row.entry.width)):
                high, wide = label.shape
                raise UserError(
                    f"{row.mask}: {wide} x {high} pixels, its image has {size[1]} x {size[0]}; restore the mask or the image"
                )
        except UserError as error:
            told.add(str(error))
            refused.add(row.name)
            continue
        checks.add(row.name, label, [classes.index(name) for name in row.labels])
    checks.end("mine")
    return [row for row in rows if row.name not in refused]


def _refuse_nothing(source: Source, told: Faults) -> None:
    lines = told.messages[:5]
    raise UserError("\n".join([f"{source.path}: no image is left to import", *lines]))
