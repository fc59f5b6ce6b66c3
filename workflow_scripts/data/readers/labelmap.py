"""`labelmap.txt`: which label a colour of a mask is, as CVAT's archives of segmentation masks and Datumaro's VOC have it.

# label:color_rgb:parts:actions
background:0,0,0::
cat:64,0,0::
"""

from collections.abc import Sequence

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.readers.images import VOID

HEADER = "# label:color_rgb:parts:actions"
BACKGROUND, IGNORED = "background", "ignored"

Colour = tuple[int, int, int]


def written(names: Sequence[str], colours: np.ndarray) -> str:
    """The text of the file.

    Args:
        names: of the labels.
        colours: (N, 3) uint8.

    Raises:
        UserError: a name that the format cannot hold.
    """
    for name in names:
        if ":" in name or name.startswith("#") or name != name.strip() or not name.isprintable():
            raise UserError(
                f"class {name!r} cannot stand in labelmap.txt: no ':', no '#' in front; export as coco instead"
            )
        if names.count(name) > 1:
            raise UserError(f"class {name!r} has a name that labelmap.txt gives another label; export as coco instead")
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in zip(names, colours.tolist(), strict=True)]
    return "\n".join([HEADER, *lines, ""])


def parsed(text: str, where: str) -> list[tuple[str, Colour | None]]:
    """Names and colours of the labels, in order.

    Args:
        where: the file, for the errors.

    Raises:
        UserError: a line that is not name:r,g,b:parts:actions, or a name or colour that is there twice.
    """
    found: dict[str, Colour | None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *rest = line.strip().split(":")
        colour = _colour(rest[0]) if len(rest) == 3 else None
        if len(rest) != 3 or rest[0] and colour is None:
            raise UserError(f"{where}, line {number}: {line.strip()[:60]!r} is not like cat:64,0,0::; correct the line")
        if name in found or colour is not None and colour in found.values():
            raise UserError(f"{where}, line {number}: label {name!r} or its colour is listed before; keep one of them")
        found[name] = colour
    return list(found.items())


def label_of(name: str, classes: Sequence[str]) -> int | None:
    """The label that a name stands for: 1 and up for the classes, 0 background, 255 ignored; None for any other.

    Raises:
        UserError: a class has a name that the format gives to another label.
    """
    if name in classes and name in (BACKGROUND, IGNORED):
        raise UserError(
            f"label {name!r} of labelmap.txt is also a class of the data set, so it is not clear what it stands for; "
            "rename the class"
        )
    if name in classes:
        return classes.index(name) + 1
    return {BACKGROUND: 0, IGNORED: VOID}.get(name)


def _colour(text: str) -> Colour | None:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts):
        return None
    red, green, blue = map(int, parts)
    return red, green, blue
