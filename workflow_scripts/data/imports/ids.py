"""Ids of images that can name files and groups of HDF5, from paths of any kind."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index_entries import DEVICES, MAX_ID_LENGTH, check_id

HASH = 8  # hexadecimal digits that tell apart what is cut off


def ids_of(names: Sequence[str], given: Sequence[str]) -> list[str]:
    """An id for each image, all different, also in small letters.

    It is the one that the source gives; else the name of the file without ending; where that is not enough, with the folders in front,
    with the ending, or with a number.

    Args:
        names: paths of the images below their folder.
        given: ids of the source, or "".
    """
    tries = []
    for path, own in zip(map(PurePosixPath, names), given, strict=True):
        first = own if own and _is_sound(own) else safe(own or path.stem)
        tries.append([first, safe("_".join(path.with_suffix("").parts)), safe("_".join(path.parts))])
    counts = [Counter(one[place].lower() for one in tries) for place in range(3)]
    taken: set[str] = set()
    found = []
    for candidates in tries:
        chosen = next(
            (
                one
                for place, one in enumerate(candidates)
                if counts[place][one.lower()] == 1 and one.lower() not in taken
            ),
            "",
        )
        number = 1
        while not chosen or chosen.lower() in taken:
            number += 1
            chosen = f"{candidates[-1]}_{number}"
        taken.add(chosen.lower())
        found.append(chosen)
    return found


def _is_sound(name: str) -> bool:
    try:
        check_id(name)
    except UserError:
        return False
    return True


def safe(name: str) -> str:
    """A name of letters, digits, `_`, `-`, `.`, others replaced; not hidden, no option, no device, not too long."""
    name = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name))
    name = re.sub(r"\.\.+", ".", name).lstrip(".-") or "image"
    if name.partition(".")[0].lower() in DEVICES:
        name = f"_{name}"
    encoded = name.encode()
    if len(encoded) > MAX_ID_LENGTH - 2 * HASH:
        digest = hashlib.sha256(encoded).hexdigest()[:HASH]
        name = f"{encoded[: MAX_ID_LENGTH - 3 * HASH].decode(errors='ignore')}_{digest}"
    return name
