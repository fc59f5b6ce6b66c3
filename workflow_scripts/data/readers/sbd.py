"""The Semantic Boundaries Dataset (Hariharan et al., ICCV 2011): masks, boundaries and objects from its MATLAB files."""

from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.data.instances import Instances, from_masks
from workflow_scripts.data.readers.mat_files import UNREADABLE, read_variable

MOST_SHOWN = 30  # numbers in a message
AGAIN = "unpack SBD's archive again"


def read_label_mat(path: Path, ids: dict[int, int]) -> np.ndarray:
    """Read `GTcls.Segmentation` of a file `cls/{id}.mat`.

    Args:
        ids: from an id of the file (those of PASCAL VOC) to a class 1..C.

    Returns:
        (H, W) uint8: 0 background, 1..C classes. SBD has no void pixels.

    Raises:
        UserError: missing, damaged, without that map, or with an id that is in no class.
    """
    (label,) = _read(path, "GTcls", "Segmentation")
    label = np.asarray(label)
    if label.ndim != 2 or label.dtype.kind not in "ui":
        raise UserError(
            f"{path}: GTcls.Segmentation is {label.ndim}-dimensional, of type {label.dtype}, expected a map of class ids; {AGAIN}"
        )
    table = {0: 0} | ids
    unknown = [int(value) for value in np.unique(label) if int(value) not in table]
    if unknown:
        raise UserError(
            f"{path}: label id {', '.join(map(str, unknown))} is none of the {len(ids)} classes or 0 (background); "
            "correct the list of classes"
        )
    lookup = np.zeros(256, np.uint8)
    lookup[list(table)] = list(table.values())
    return lookup[label]


def read_contours(path: Path) -> np.ndarray:
    """Union over the classes of `GTcls.Boundaries` of a file `cls/{id}.mat`, bool (H, W).

    Raises:
        UserError: the file is damaged or has no such maps.
    """
    (boundaries,) = _read(path, "GTcls", "Boundaries")
    try:
        maps = [np.asarray(item) > 0 for item in (boundaries if isinstance(boundaries, list) else [boundaries])]
        contours = np.zeros(maps[0].shape, bool)
        for found in maps:
            contours |= found
        return contours
    except UNREADABLE as error:
        raise _unreadable(path, "GTcls.Boundaries", error) from None


def read_instances(path: Path, ids: dict[int, int]) -> Instances:
    """Instances of a file `inst/{id}.mat`: `GTinst.Segmentation`, 1..M, and `GTinst.Categories`.

    Args:
        ids: from an id of the file (those of PASCAL VOC) to a class 1..C.

    Raises:
        UserError: damaged, or with an id that is in no class.
    """
    segmentation, categories = _read(path, "GTinst", "Segmentation", "Categories")
    try:
        objects, categories = np.asarray(segmentation), [int(value) for value in np.asarray(categories).ravel()]
    except UNREADABLE as error:
        raise _unreadable(path, "GTinst", error) from None
    unknown = [value for value in categories if value not in ids]
    if unknown or objects.ndim != 2:
        raise UserError(
            f"{path}: categories {categories[:MOST_SHOWN]} with a map of {objects.ndim} dimensions, expected some of the "
            f"{len(ids)} classes; correct the list of classes or {AGAIN}"
        )
    masks = [objects == number for number in range(1, len(categories) + 1)]
    return from_masks(masks, [ids[value] - 1 for value in categories])


def _read(path: Path, variable: str, *fields: str) -> list[Any]:
    try:
        content = read_variable(path, variable)
        return [content[field] for field in fields]
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; restore it or take the id off the lists") from None
    except UNREADABLE as error:
        raise _unreadable(path, f"{variable}.{fields[0]}", error) from None


def _unreadable(path: Path, what: str, error: Exception) -> UserError:
    return UserError(f"{path}: {what} cannot be read ({one_line(error)}); {AGAIN}")
