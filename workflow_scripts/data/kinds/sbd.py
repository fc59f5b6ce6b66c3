"""Truth masks of the Semantic Boundaries Dataset (Hariharan et al., ICCV 2011), from its MATLAB files."""

from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.data.readers.mat_files import UNREADABLE, read_variable


def read_label_mat(path: Path, ids: dict[int, int]) -> np.ndarray:
    """Read `GTcls.Segmentation` of a file `cls/{id}.mat`.

    Args:
        ids: from an id of the file (those of PASCAL VOC) to a class 1..C.

    Returns:
        (H, W) uint8: 0 background, 1..C classes. SBD has no void pixels.

    Raises:
        UserError: missing, damaged, without that map, or with an id that is in no class.
    """
    try:
        label = np.asarray(read_variable(path, "GTcls")["Segmentation"])
    except FileNotFoundError:
        raise UserError(f"{path}: the file is missing; restore it or take the id off the lists") from None
    except UNREADABLE as error:
        raise UserError(
            f"{path}: no label map GTcls.Segmentation can be read ({one_line(error)}); unpack SBD's archive again"
        ) from None
    if label.ndim != 2 or label.dtype.kind not in "ui":
        raise UserError(
            f"{path}: GTcls.Segmentation is {label.ndim}-dimensional, of type {label.dtype}, expected a map of class ids; "
            "unpack SBD's archive again"
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
