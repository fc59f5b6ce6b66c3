"""The user's lists of ids and tables of images: what their lines name, for the readers and for planning alike."""

import codecs
import contextlib
import csv
import io
import os
import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import Any

from workflow_scripts.base.errors import UserError

# "/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png", as the lists of PSA (Ahn and Kwak, CVPR 2018)
PATH_LINE = re.compile(r"(/\S+\.jpe?g)(\s+/\S+\.png)?", re.IGNORECASE)

LARGEST = 1 << 28  # bytes
MOST_OF_CELL = 1 << 20  # characters, some 90,000 points of polygons; csv takes an eighth of it
MOST_GUESSED = 80  # characters of a line
REQUIRED_COLUMNS = ("id", "image", "labels")
PATHS = ("image", "mask")
COLUMNS = (*REQUIRED_COLUMNS, "mask", "polygons", "boxes", "split")
SEPARATOR_LINE = re.compile(r'"?sep=([,;\t])"?\r?\n')
EMPTY_LINES = re.compile(r"[\s,;]*[\r\n]")  # above the header
csv.field_size_limit(MOST_OF_CELL)
CELLS: Any = {"strict": True, "skipinitialspace": True}
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
WORKBOOKS = (b"PK\3\4", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods are zip files, .xls is an OLE file
HOW_TO_SAVE = (
    "save the {} as UTF-8 (in Excel: Save As, 'CSV UTF-8'; in LibreOffice: 'Text CSV', character set 'Unicode (UTF-8)')"
)
OF_RUNS = ("results", "logs", ".snakemake", ".git")  # folders where Snakemake runs
OF_FILE_MANAGERS = {"thumbs.db", "desktop.ini"}
PICTURE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".gif")
)


def picture_files(folder: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Paths of the images of a folder by name without ending, sorted; none where there is no folder.

    Of a hundred thousand, text is made much faster than `Path`.
    """
    found: dict[str, list[str]] = {}
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            if suffix.lower() in PICTURE_SUFFIXES and not stem.startswith("."):
                found.setdefault(stem, []).append(entry.path)
    return {stem: sorted(paths) for stem, paths in found.items()}


def pictures_in(folder: str | Path) -> Iterator[str]:
    """Paths of a folder's images; of a hundred thousand, text is made much faster than `Path`."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        yield from (entry.path for entry in entries if entry.name.endswith((".jpg", ".png")))


def files_below(folder: str | Path) -> Iterator[str]:
    """Files of a folder and of those in it, pictures whatever they are called; not what runs and file managers put there."""
    seen, waiting = {os.path.realpath(name) for name in OF_RUNS}, [str(folder)]
    while waiting:
        folder = waiting.pop()
        if (real := os.path.realpath(folder)) in seen:  # links may lead in a circle
            continue
        seen.add(real)
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append(entry.path)
                elif not entry.name.startswith(".") and entry.name.lower() not in OF_FILE_MANAGERS:
                    yield entry.path


def listed_ids(path: Path) -> list[tuple[int, str]]:
    """Line numbers and ids of a list with one id, or one path of an image, in a line; ids are not checked.

    Raises:
        UserError: the list is missing, cannot be read or is not UTF-8 or marked UTF-16 text.
    """
    lines = enumerate(io.StringIO(_text(path, "list"), newline=None), start=1)
    return [(number, _identifier(line.strip())) for number, line in lines if line.strip()]


def readable_ids(path: Path) -> list[str]:
    """The ids of a list; none of one that cannot be read, which its stage will tell."""
    try:
        return [identifier for _, identifier in listed_ids(path)]
    except UserError:
        return []


def readable_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none of one that cannot be read, which its stage will tell."""
    try:
        (_, header), *rows = table_rows(path)
    except UserError:
        return []
    return [dict(zip(header, cells, strict=False)) for _, cells in rows]


def table_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and stripped cells of a table: the header, then all rows but empty ones.

    Cells are separated by commas, semicolons or tabs, whichever gives the header more of the known columns. These are known
    in capitals, too.

    Raises:
        UserError: the table is missing, cannot be read or is not UTF-8 or marked UTF-16 text; or, on the way, has an open quote.
    """
    text = _text(path, "table")
    lines = 1
    if told := SEPARATOR_LINE.match(text):  # which Excel reads, and writes on request
        text, lines = text[told.end() :], 2
    if empty := EMPTY_LINES.match(text):
        text, lines = text[empty.end() :], lines + len(empty[0].splitlines())
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=told[1] if told else _separator(text), **CELLS)
    try:
        header = [cell.strip() for cell in next(reader, [])]
        header = [cell.lower() if cell.lower() in COLUMNS else cell for cell in header]
        yield lines, header
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield (
                    reader.line_num + lines - 1,
                    [_cell(*pair) for pair in zip_longest(cells, header[: len(cells)], fillvalue="")],
                )
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num + lines - 1}: not comma-separated values ({error}); check the quotes"
        ) from None


def _cell(text: str, column: str) -> str:
    """Without white space around it; a path with slashes, whatever the system that it was written on."""
    return text.strip().replace("\\", "/") if column in PATHS else text.strip()


def _separator(text: str) -> str:
    """What separates the cells of the first line."""

    def known(separator: str) -> int:
        with contextlib.suppress(csv.Error):
            header = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator, **CELLS), [])
            return len({cell.strip().lower() for cell in header} & set(COLUMNS))
        return 0

    return max(",;\t", key=known)


def _text(path: Path, what: str) -> str:
    way_out = HOW_TO_SAVE.format(what)
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(
                f"{path}: has more than {LARGEST >> 20} MiB, which no {what} of images takes; name another file"
            )
        content = path.read_bytes()
        if content.startswith(WORKBOOKS):
            raise UserError(f"{path}: a workbook of a spreadsheet program, not text; {way_out}")
        # Excel's "Unicode Text" is UTF-16 with a mark.
        text = content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: the {what} is missing; set its path in the config") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}{_undecoded(content, error)}; {way_out}") from None
    if (place := text.find("\0")) >= 0:  # which no name of a file can have
        raise UserError(f"{path}: not text (a NUL character, number {place}); {way_out}")
    return text


def _undecoded(content: bytes, error: UnicodeDecodeError) -> str:
    """Where text is not of its encoding, and what it looks like."""
    if error.encoding != "utf-8":
        return f": UTF-16 text that breaks off or is damaged (byte {error.start})"
    line = content.count(b"\n", 0, error.start) + 1
    start = content.rfind(b"\n", 0, error.start) + 1
    likely = content[start:].splitlines()[0].decode("cp1252", errors="replace")
    guess = f"; as Windows-1252 the line is {likely[:MOST_GUESSED]!r}" if likely.isprintable() else ""
    return f", line {line}: not UTF-8 text (byte {error.start}){guess}"


def _identifier(line: str) -> str:
    path_line = PATH_LINE.fullmatch(line)
    return PurePosixPath(path_line[1]).stem if path_line else line
