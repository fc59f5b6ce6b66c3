"""The user's lists of ids and tables of images: what their lines name, for the readers and for planning alike."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from workflow_scripts.errors import UserError

# "/JPEGImages/2007_000032.jpg /SegmentationClassAug/2007_000032.png", as the lists of PSA (Ahn and Kwak, CVPR 2018)
PATH_LINE = re.compile(r"(/\S+\.jpe?g)(\s+/\S+\.png)?", re.IGNORECASE)

LARGEST = 1 << 28  # bytes


def listed_ids(path: Path) -> list[tuple[int, str]]:
    """Line numbers and ids of a list with one id, or one path of an image, in a line; ids are not checked.

    Raises:
        UserError: the list is missing, cannot be read or is not UTF-8 text.
    """
    lines = enumerate(io.StringIO(_text(path, "list"), newline=None), start=1)
    return [(number, _identifier(line.strip())) for number, line in lines if line.strip()]


def table_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and stripped cells of a table of comma-separated values: the header, then all rows but empty ones.

    Raises:
        UserError: the table is missing, cannot be read or is not UTF-8 text; or, on the way, has an open quote.
    """
    reader = csv.reader(io.StringIO(_text(path, "table"), newline=""), strict=True)
    try:
        yield 1, [cell.strip() for cell in next(reader, [])]
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise UserError(
            f"{path}, line {reader.line_num}: not comma-separated values ({error}); check the quotes"
        ) from None


def _text(path: Path, what: str) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(
                f"{path}: has more than {LARGEST >> 20} MiB, which no {what} of images takes; is it the right file?"
            )
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: the {what} is missing; set its path in the config") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save the {what} as UTF-8") from None
    if (place := text.find("\0")) >= 0:  # which no name of a file can have
        raise UserError(f"{path}: not text (a NUL character, number {place}); save the {what} as UTF-8")
    return text


def _identifier(line: str) -> str:
    path_line = PATH_LINE.fullmatch(line)
    return PurePosixPath(path_line[1]).stem if path_line else line
