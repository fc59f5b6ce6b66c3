"""What the index holds for one image, and the checks that every reader of a data set shares."""

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.edges import clipped
from workflow_scripts.data.readers.images import check_image

MAX_SHOWN = 50
MAX_ID_LENGTH = 200  # bytes
DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{number}" for name in ("com", "lpt") for number in range(1, 10))}
AT_ONCE = 1000  # images that are waiting for a thread or for their turn

Item = TypeVar("Item")
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One image of a data set.

    Attributes:
        id: name of the image, unique in the data set and usable as a file name.
        image: path of the image file.
        height, width: of the image in pixels.
        digest: SHA-256 of the image file in hexadecimal.
        labels: the 0-based classes in the image, ascending.
        boxes: (M, 5) float32, x0, y0, x1, y1 in pixels as the source has them, and the 0-based class.
        crowds: rows of the boxes that are drawn around many objects; of COCO.
        pixels: digest of the decoded picture, not kept in the index; empty where there is none.
    """

    id: str
    image: str
    height: int
    width: int
    digest: str
    labels: tuple[int, ...]
    boxes: np.ndarray
    crowds: tuple[int, ...] = ()
    pixels: str = ""


class Finding(NamedTuple):
    """One thing that is suspicious: the check, the id of the image, class, column or file, and what exactly."""

    check: str
    identifier: str
    detail: str = ""


class Faults:
    """Collects the faults of a data set, so that all of them are reported together, and what is suspicious in it."""

    def __init__(self) -> None:
        self._messages: dict[str, None] = {}  # in order, each line once
        self._findings: dict[Finding, None] = {}

    def add(self, message: str) -> None:
        """Note one fault: a line that names the file or id, what was expected and what to do. A line counts once."""
        self._messages.setdefault(message)

    def suspect(self, check: str, identifier: str, detail: str = "") -> None:
        """Note what is suspicious, but may be right.

        Args:
            check: one of `checks.CHECKS`, which a test compares with the sources.
            identifier: of the image, class, column or file.
            detail: what exactly, in a few words.
        """
        self._findings.setdefault(Finding(check, identifier, detail))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is suspicious, in order, each once."""
        return tuple(self._findings)

    def take(self, other: "Faults") -> None:
        """Add what another has collected, after one's own."""
        self._messages |= other._messages
        self._findings |= other._findings

    @property
    def messages(self) -> tuple[str, ...]:
        """The faults noted so far, in order."""
        return tuple(self._messages)

    def raise_if_any(self, context: str) -> None:
        """Raise a UserError with a line for each of the first 50 faults below a line with their number."""
        number = len(self._messages)
        if number == 0:
            return
        lines = [f"{context}: {number} fault{'s' if number > 1 else ''}", *self.messages[:MAX_SHOWN]]
        if number > MAX_SHOWN:
            lines.append(f"... and {number - MAX_SHOWN} more")
        raise UserError("\n".join(lines))


def check_id(identifier: str) -> None:
    """Raise a UserError unless the id can name a file and an HDF5 group."""
    expected = f"expected 1 to {MAX_ID_LENGTH} characters without slashes, such as 2007_000032; rename the image"
    if not identifier:
        raise UserError(f"an image id is empty; {expected}")
    shown = repr(identifier[:60])
    if not identifier.isprintable():
        raise UserError(f"image id {shown} has control characters; {expected}")
    if len(identifier.encode()) > MAX_ID_LENGTH:
        raise UserError(f"image id {shown}... takes {len(identifier.encode())} bytes; {expected}")
    if "/" in identifier or "\\" in identifier:
        raise UserError(f"image id {shown} has a slash; {expected}")
    if identifier.startswith(".") or ".." in identifier:
        raise UserError(f"image id {shown} starts with '.' or has '..'; {expected}")
    if identifier != identifier.strip():
        raise UserError(f"image id {shown} starts or ends with white space; {expected}")
    if identifier.startswith("-") or identifier.partition(".")[0].lower() in DEVICES:
        raise UserError(f"image id {shown} is an option or a device as a file name; {expected}")


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The known name that is spelled most like `name`, upper and lower case being equal."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    return by_lower[difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.0)[0]]


def class_index(name: str, classes: Sequence[str], where: str) -> int:
    """The 0-based class of a name; if unknown, a UserError that starts with `where` and tells the nearest class."""
    if name in classes:
        return classes.index(name)
    raise UserError(
        f"{where}: label {name!r} is unknown, the nearest known class is {nearest_name(name, classes)!r}; correct it or add"
        " it to the classes of the data set"
    )


def parse_box(coordinates: Sequence[Any], where: str) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 in pixels from their four texts.

    Raises:
        UserError: one of them is not a finite number, they are from 0 to 1, or the box has no area.
    """
    try:
        x0, y0, x1, y1 = (float(text) for text in coordinates)
    except (TypeError, ValueError):
        x0 = y0 = x1 = y1 = np.nan
    if not np.isfinite([x0, y0, x1, y1]).all():
        shown = " ".join("(missing)" if text is None else text.strip() for text in coordinates)
        comma = "write decimals with a point" if "," in shown else "correct it"
        raise UserError(f"{where}: box '{shown}' is not four numbers x0 y0 x1 y1; {comma}")
    refuse_normalised(coordinates, where)
    if x1 <= x0 or y1 <= y0:
        raise UserError(f"{where}: box {_shown((x0, y0, x1, y1))} has no area; expected x0 < x1 and y0 < y1")
    return x0, y0, x1, y1


def refuse_normalised(coordinates: Sequence[str], where: str) -> None:
    """Raise a UserError if texts are four numbers from 0 to 1 that are no whole pixels."""
    try:
        values = [float(text) for text in coordinates]
    except ValueError:
        return
    fractions = any(value % 1 for value in values) or any("." in text for text in coordinates)
    if len(values) == 4 and fractions and is_normalised(values):
        raise UserError(
            f"{where}: boxes are normalised, from 0 to 1, but pixels are expected; multiply x by the width and y by the height of the "
            "image (YOLO has the centre, width and height of a box: take half of both from the centre for x0 y0, add it for x1 y1)"
        )


def is_normalised(corners: Iterable[float]) -> bool:
    """Whether they may be shares of the image's sides, a tenth over the edge at most."""
    return all(-0.1 <= value <= 1.1 for value in corners)


def check_entry(
    identifier: str,
    image: Path,
    labels: Iterable[int],
    boxes: Sequence[tuple[float, float, float, float, int]],
    where: str,
    faults: Faults,
    crowds: Sequence[int] = (),
    stated: tuple[int, int] | None = None,
    oriented: bool = True,
) -> Entry | None:
    """Decode the image, check its size and the boxes against it and make its entry.

    Args:
        boxes: x0, y0, x1, y1 in pixels and the 0-based class. One that reaches a little over the edge is cut off there
            (`edges.clipped`), and noted as suspicious.
        where: the file (and line) that the boxes come from, for the faults.
        crowds: rows of the boxes that are drawn around many objects.
        stated: height and width that the source of the boxes gives the image, where it does.
        oriented: whether the EXIF orientation is applied.

    Returns:
        the entry, or None where the image cannot be read; a fault is noted then.
    """
    try:
        height, width, digest, orientation, pixels = check_image(image, oriented)
    except UserError as error:
        faults.add(str(error))
        return None
    if orientation != 1:
        faults.suspect("orientation", identifier, f"EXIF {orientation}{'' if oriented else ', ignored'}")
    if stated and stated != (height, width):
        faults.add(f"{where}: states {_stated(stated, (height, width), image, orientation, oriented)}")
        return None
    often, count = max(Counter(boxes).items(), key=lambda item: item[1], default=((), 0))
    if count > 1:
        faults.suspect("box_twice", identifier, f"{_shown(often[:4])}, {count} times")
    kept, cut = [], []
    for x0, y0, x1, y1, label in boxes:
        box = (x0, y0, x1, y1)
        inside = clipped(box, height, width)
        if inside is None:
            turned = orientation >= 5 and clipped(box, width, height) is not None
            other = ", or set `orientation: {}` in the data set, as it fits the photograph turned otherwise"
            faults.add(
                f"{where}: box {_shown(box)} is outside the image of {width} x {height} pixels;"
                " correct the box or restore the image it was drawn on"
                + (other.format("stored" if oriented else "shown") if turned else "")
            )
            continue
        kept.append((*inside, label))
        cut += [box] if kept[-1][:4] != tuple(box) else []
    if cut:
        more = f" and {len(cut) - 1} more" if len(cut) > 1 else ""
        faults.suspect("box_clipped", identifier, f"{_shown(cut[0])}{more} in {width} x {height} pixels")
    box_array = np.array(kept, dtype=np.float32).reshape(-1, 5)
    classes = tuple(sorted(set(labels)))
    return Entry(identifier, str(image), height, width, digest, classes, box_array, tuple(crowds), pixels)


def _stated(stated: tuple[int, int], size: tuple[int, int], image: Path, orientation: int, oriented: bool) -> str:
    """What is wrong with a stated size, both height and width, and the ways out."""
    (high, wide), (height, width) = stated, size
    told = f"an image of {wide} x {high} pixels, {image.name} has {width} x {height} (width x height)"
    if orientation < 5 or stated != (width, height):
        return f"{told}; restore the image that was annotated, or scale the boxes to this one and correct the size"
    if oriented:
        return (
            f"{told}, as its EXIF orientation is applied; correct the size if the boxes were drawn on the picture as viewers show it, "
            "or set `orientation: stored` in the data set if on the pixels as they are stored"
        )
    return (
        f"{told}, as its EXIF orientation is not applied; set `orientation: shown` in the data set, or correct the size if the boxes "
        "were drawn on the pixels as they are stored"
    )


def gather(
    check: Callable[[Item, Faults], Entry | None],
    items: Sequence[Item],
    faults: Faults,
    progress: Progress | None,
    threads: int = 1,
) -> list[Entry]:
    """Check many images in threads; entries and faults come in the order of `items`, whatever the number of threads.

    Args:
        check: makes the entry of an item and notes its faults.
        progress: called with (done, total) from the calling thread.
        threads: that check at once.
    """

    def check_alone(item: Item) -> tuple[Entry | None, Faults]:
        own = Faults()
        return check(item, own), own

    entries = []
    with ThreadPoolExecutor(threads) as pool:
        blocks = (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))
        found = chain.from_iterable(pool.map(check_alone, block) for block in blocks)
        for done, (entry, own) in enumerate(found, start=1):
            faults.take(own)
            if entry is not None:
                entries.append(entry)
            if progress is not None:
                progress(done, len(items))
    return entries


def _shown(box: Sequence[float]) -> str:
    return "'" + " ".join(f"{value:g}" for value in box) + "'"
