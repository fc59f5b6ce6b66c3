"""True boundaries of the Semantic Boundaries Dataset (Hariharan et al., ICCV 2011), from its MATLAB files."""

from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.data.readers.mat_files import UNREADABLE, read_variable


def read_contours(path: Path) -> np.ndarray:
    """Union over the classes of `GTcls.Boundaries` of a file `cls/{id}.mat`, bool (H, W).

    Raises:
        UserError: the file is damaged or has no such maps.
    """
    try:
        boundaries = read_variable(path, "GTcls")["Boundaries"]
        maps = [np.asarray(item) > 0 for item in (boundaries if isinstance(boundaries, list) else [boundaries])]
        contours = np.zeros(maps[0].shape, bool)
        for found in maps:
            contours |= found
        return contours
    except UNREADABLE as error:
        raise UserError(
            f"{path}: no boundaries GTcls.Boundaries can be read ({one_line(error)}); unpack SBD's archive again"
        ) from None
