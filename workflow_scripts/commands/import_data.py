"""Import a data set of an annotation tool: a table, masks and settings that the workflow runs on.

    wsss import photos --out mine
    wsss import photos --out mine --write
    wsss import export.zip --out mine --write
    wsss import annotations.xml --out mine --images photos --write
    wsss import photos --out mine --rename Cat=cat --classes cat dog --write

The first tells what it found and what it would write, and writes nothing. Then the workflow runs on what was written:

    snakemake --cores 2 --configfile configs/quick.yaml mine/mine.yaml -- results/mine/pictures/done.txt

Read are: a folder for each class (folders), a table of images (table), YOLO's boxes and polygons (yolo), COCO's JSON (coco), VOC's XML
(voc), CVAT for images 1.1 (cvat), LabelMe (labelme), Label Studio's JSON and JSON-MIN (label-studio). Which it is, is recognised. Images
stay where they are, a zip is unpacked to mine/unpacked, and nothing is overwritten. docs/howto/import.md tells what is taken from each.
"""

import argparse
import os
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import yaml

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.progress import progress
from workflow_scripts.commands.command_line import command_parser
from workflow_scripts.data.beside import evenly_spread
from workflow_scripts.data.checks import summary
from workflow_scripts.data.imports.formats import FORMATS, recognised
from workflow_scripts.data.imports.records import Contents, Told
from workflow_scripts.data.imports.rows import Table, Wishes, masks, settled
from workflow_scripts.data.imports.source import Source
from workflow_scripts.data.index_entries import MAX_SHOWN
from workflow_scripts.data.readers.archives import unpack
from workflow_scripts.data.readers.images import read_image, read_label_png
from workflow_scripts.look import pictures
from workflow_scripts.store.artifacts import write
from workflow_scripts.store.csv_files import write_table

TABLE, SETTINGS, MASKS, SHEET, COPIES, UNPACKED = (
    *("images.csv", "mine.yaml", "masks", "contact_sheet.png", "images", "unpacked"),
)
ON_SHEET = 12  # images
DATASET = "mine"  # as configs/quick.yaml calls it


@dataclass
class Result:
    """What was read, and where its files go."""

    source: Source
    contents: Contents
    wishes: Wishes
    table: Table
    told: Told
    format: str
    why: str


def main(arguments: Sequence[str]) -> int:
    """The command line; exit status 1 where something cannot be imported."""
    given = _parser().parse_args(arguments)
    if given.threads < 1:
        raise UserError(f"--threads {given.threads}: give at least 1")
    wishes = Wishes(tuple(given.classes), _renamed(given.rename), given.unannotated == "negatives", given.orientation)
    is_archive = given.source.is_file() and zipfile.is_zipfile(given.source)
    moved = [COPIES] if given.copy else [UNPACKED] if is_archive else []
    _check_free(given.out, [TABLE, SETTINGS, SHEET, MASKS, *moved], given.sheet)
    with ExitStack() as stack:
        folder = _staging(given.out, stack) if given.write else None
        if is_archive:
            unpacked = _unpacked(given.source, folder or _temporary(stack))
            stack.enter_context(_called(given.source, unpacked))
        source = Source(_only_folder(unpacked) if is_archive else given.source, given.images)
        result = read(source, given.format, wishes, given.threads)
        for line in report(result):
            print(line.replace(str(unpacked), str(given.source)) if is_archive else line)
        rows = table_rows(result, folder or Path(os.curdir), given.out, given.copy)
        if given.sheet:
            _draw_sheet(result, given.sheet)
            print(f"drew {given.sheet}")
        names = [TABLE, SHEET, *([MASKS] if any(row.is_drawn for row in result.table.rows) else []), *moved, SETTINGS]
        if (faults := len(result.told.messages)) and not given.leave_out:
            told = "1 fault: correct it" if faults == 1 else f"{faults} faults: correct them"
            print(f"{told}, or add --leave-out to import without {'this image' if faults == 1 else 'these images'}")
            return 1
        if folder is None:
            print(f"would write to {given.out}: {', '.join(names)}; add --write")
            return 0
        write_all(result, rows, folder, given.out)
        for name in names:
            os.replace(folder / name, given.out / name)
    print(f"wrote {', '.join(str(given.out / name) for name in names)}")
    for line in _next(given.out, result.table):
        print(line)
    return 0


def read(source: Source, name: str | None, wishes: Wishes, threads: int) -> Result:
    """Read and check a source of the named format, or of the one that is recognised.

    Raises:
        UserError: no known format, or nothing that can be imported.
    """
    told = Told()
    name, why = (name, "as --format says") if name else recognised(source)
    contents = FORMATS[name].read(source, told)
    table = settled(source, contents, wishes, told, threads)
    return Result(source, contents, wishes, table, told, name, why)


def report(result: Result) -> Iterator[str]:
    """What was found, for people: counts, notes, what is suspicious, and faults, a line each."""
    table, told = result.table, result.told
    rows, shown = table.rows, Counter(name for row in table.rows for name in row.labels)
    boxes = Counter(name for row in rows for _, name in row.boxes)
    yield f"{result.source.path}: {FORMATS[result.format].TITLE} ({result.why})"
    negatives = sum(not row.labels for row in rows)
    yield f"images: {len(rows)}" + (f", {negatives} of them show none of the classes" if negatives else "")
    counts = (f"{name} {shown[name]}" + (f" ({boxes[name]} boxes)" if boxes[name] else "") for name in table.classes)
    yield f"classes: {len(table.classes)}; images of each: {', '.join(counts)}"
    if boxes:
        around = sum(row.around for row in rows)
        yield f"boxes: {boxes.total()}" + (f", {around} of them around outlines" if around else "")
    drawn, there = (sum(map(bool, found)) for found in ([row.is_drawn for row in rows], [row.mask for row in rows]))
    yield f"masks: {drawn} to be written, {there} stay where they are" if drawn or there else "masks: none"
    by_split = Counter(row.split for row in rows)
    told_splits = [f"{name or '(none)'} {count}" for name, count in by_split.items()]
    yield f"splits: {', '.join(told_splits) if [*by_split] != [''] else 'none'}"
    uses = {key: value if isinstance(value, str) else ", ".join(value) for key, value in table.use.items()}
    yield f"use: {', '.join(f'{key} {value}' for key, value in uses.items())}"
    yield from (f"note: {line}" for line in told.lines())
    yield from summary(told.findings)
    yield from (f"fault: {line}" for line in told.messages[:MAX_SHOWN])
    if len(told.messages) > MAX_SHOWN:
        yield f"... and {len(told.messages) - MAX_SHOWN} more faults"


def table_rows(result: Result, folder: Path, out: Path, copy: bool) -> list[dict[str, str]]:
    """The rows of the table, a value for each column.

    Args:
        folder: what everything is written to, an archive is unpacked in, and is moved to `out`.
        copy: whether images will be copied.

    Raises:
        UserError: a path that a cell cannot hold.
    """
    rows = []
    for row in result.table.rows:
        image = f"{COPIES}/{row.identifier}{row.path.suffix.lower()}" if copy else _place(row.path, folder, out)
        mask = f"{MASKS}/{row.identifier}.png" if row.is_drawn else _place(row.mask, folder, out) if row.mask else ""
        boxes = "; ".join(f"{' '.join(f'{value:.12g}' for value in box)} {name}" for box, name in row.boxes)
        labels = ";".join(name for name in result.table.classes if name in row.labels) or "-"
        rows.append(
            {"id": row.identifier, "image": image, "labels": labels, "boxes": boxes, "mask": mask, "split": row.split}
        )
    columns = ["id", "image", "labels", *(key for key in ("boxes", "mask", "split") if any(row[key] for row in rows))]
    return [{key: row[key] for key in columns} for row in rows]


def write_all(result: Result, rows: Sequence[dict[str, str]], folder: Path, out: Path) -> None:
    """Write everything into a folder, from where it will be moved to `out`."""
    table = result.table
    if count := sum(row.is_drawn for row in table.rows):
        (folder / MASKS).mkdir()
        for row, label in progress(masks(table, result.contents, result.wishes), count, "masks"):
            (folder / MASKS / f"{row.identifier}.png").write_bytes(pictures.label_png(label))  # whole when it is moved
    copied = [(row.path, folder / one["image"]) for row, one in zip(table.rows, rows, strict=True)]
    for source, target in copied:
        if target.parent == folder / COPIES:
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
    write_table(str(folder / TABLE), rows)
    _draw_sheet(result, folder / SHEET, folder / MASKS)
    write(folder / SETTINGS, settings(table, out))


def settings(table: Table, out: Path) -> str:
    """The text of the settings: the data set, its classes and its splits."""
    block = {
        "kind": "csv",
        "table": (out / TABLE).as_posix(),
        "classes": list(table.classes),
        "splits": table.splits,
        "use": table.use,
    }
    block |= {"orientation": "stored"} if table.orientation == "stored" else {}
    text = yaml.safe_dump(
        {"datasets": {DATASET: block}}, sort_keys=False, allow_unicode=True, default_flow_style=None, width=120
    )
    return f"# Made by `wsss import`; to be laid over configs/quick.yaml or other recipes.\n{text}"


def _place(path: Path, folder: Path, out: Path) -> str:
    """A path as the table has it: relative to its folder, that of unpacked files too.

    Raises:
        UserError: a name that a cell cannot hold.
    """
    start = folder if path.is_relative_to(folder) else out
    name = os.path.relpath(path, start)
    if name != name.strip() or "\\" in name or not name.isprintable():
        raise UserError(f"{path}: its name cannot stand in a table; rename the file, or add --copy")
    return name


def _draw_sheet(result: Result, out: Path, written: Path | None = None) -> None:
    """Some images, evenly spread, with labels, boxes and masks; these from a folder where they are written already."""
    if out.suffix.lower() != ".png":
        raise UserError(f"{out}: pictures are written as PNG; give --sheet a name that ends in .png")
    table = result.table
    chosen = {*evenly_spread([row.identifier for row in table.rows], ON_SHEET)}
    rows = [row for row in table.rows if row.identifier in chosen]
    oriented = table.orientation == "shown"
    drawn = {}
    if written is None:
        some = replace(table, rows=rows)
        drawn = {row.identifier: label for row, label in masks(some, result.contents, result.wishes)}
    lines = []
    for row in rows:
        image = read_image(row.path, oriented)
        cells: list[pictures.Cell | None] = [
            pictures.image_cell(image, row.entry.labels, row.entry.boxes, table.classes)
        ]
        label = drawn.get(row.identifier)
        if mask := row.mask or (written / f"{row.identifier}.png" if written and row.is_drawn else None):
            label = read_label_png(mask, None, len(table.classes), oriented)
        cells.append(pictures.label_cell(image, label, table.classes) if label is not None else None)
        lines.append(pictures.Row([row.identifier, *([f"in {row.split}"] if row.split else [])], cells))
    if not any(line.cells[1] for line in lines):
        lines = [pictures.Row(line.title, line.cells[:1]) for line in lines]
    columns = ["image and boxes", "mask"][: max(len(line.cells) for line in lines)]
    title = f"{result.source.path.name}: {len(rows)} of {len(table.rows)} images"
    write(out, pictures.png(pictures.montage(title, [pictures.Block("", columns, lines)], table.classes)))


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("import", __doc__)
    add = parser.add_argument
    add("source", type=Path, help="a folder, a zip, or a file of annotations")
    made = f"for {TABLE}, {SETTINGS}, {MASKS}/ and {SHEET}"
    add("--out", type=Path, required=True, metavar="FOLDER", help=made)
    add("--write", action="store_true", help="write; without it, only tell what would be written")
    add("--format", choices=FORMATS, help="of the source, where it is not recognised")
    add("--images", type=Path, metavar="FOLDER", help="of images that do not lie below the source")
    order = "that count, in this order; all of the source if not given"
    add("--classes", nargs="+", default=[], metavar="CLASS", help=order)
    new = "other names of classes; two with one new name become one class"
    add("--rename", nargs="+", default=[], metavar="OLD=NEW", help=new)
    nobody = "images that nobody has annotated (leave-out)"
    add("--unannotated", choices=("leave-out", "negatives"), default="leave-out", help=nobody)
    turned = "of photographs with an EXIF orientation, as they were annotated; by the sizes that annotations state if not given"
    add("--orientation", choices=("shown", "stored"), default="", help=turned)
    add("--leave-out", action="store_true", help="write without the images that have a fault")
    add("--copy", action="store_true", help=f"copy the images to FOLDER/{COPIES}, named after their ids")
    add("--sheet", type=Path, metavar="PNG", help="also draw some images with what was read, without --write too")
    cores = len(os.sched_getaffinity(0))
    add("--threads", type=int, default=cores, metavar="NUMBER", help="that read images at once (all cores)")
    return parser


def _renamed(given: Sequence[str]) -> dict[str, str]:
    found = {}
    for one in given:
        old, equals, new = one.partition("=")
        if not equals or not old.strip() or not new.strip():
            raise UserError(f"--rename {one!r}: expected OLD=NEW, such as Cat=cat")
        found[old.strip()] = new.strip()
    return found


def _check_free(out: Path, names: Sequence[str], sheet: Path | None) -> None:
    """Nothing that is there is overwritten."""
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; name a folder")
    for name in names:
        if (out / name).exists():
            raise UserError(f"{out / name}: exists and is never overwritten; name another folder, or delete it")
    if sheet and sheet.exists():
        raise UserError(f"--sheet {sheet}: exists and is never overwritten; name another file")


def _staging(out: Path, stack: ExitStack) -> Path:
    """A folder in `out` that everything is written to first; removed at the end, and `out` too if nothing was moved into it."""
    out.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".import.", dir=out))

    def remove() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        if not any(out.iterdir()):
            out.rmdir()

    stack.callback(remove)
    return folder


def _temporary(stack: ExitStack) -> Path:
    """A folder that is there until the end."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory()))


def _unpacked(source: Path, folder: Path) -> Path:
    """What an archive holds, in a folder of its own."""
    with zipfile.ZipFile(source) as archive:
        names = archive.namelist()
    tops = sorted({PurePosixPath(name).parts[0] for name in names if PurePosixPath(name).parts} - {"__MACOSX"})
    if not tops:
        raise UserError(f"{source}: the archive is empty; export it again")
    unpack(source, folder / UNPACKED, tops, shutil.disk_usage(folder).free // 2)
    return folder / UNPACKED


@contextmanager
def _called(archive: Path, unpacked: Path) -> Iterator[None]:
    """Errors name the archive, not where it was unpacked."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(str(unpacked), str(archive))) from None


def _only_folder(folder: Path) -> Path:
    """The folder in which everything is: archives often have one around all."""
    while len(inside := list(folder.iterdir())) == 1 and inside[0].is_dir():
        folder = inside[0]
    return folder


def _next(out: Path, table: Table) -> Iterator[str]:
    """What to do then."""
    overlays = f"--configfile configs/quick.yaml {out / SETTINGS}"
    scored = any(row.is_drawn or row.mask for row in table.rows)
    yield f"check it: wsss check results/{DATASET} {overlays}"
    yield f"run it:   snakemake --cores 2 {overlays} -- results/{DATASET}/{'miou.csv' if scored else 'pictures/done.txt'}"
