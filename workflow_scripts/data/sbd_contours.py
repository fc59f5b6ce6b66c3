"""True boundaries of the Semantic Boundaries Dataset (Hariharan et al., ICCV 2011), from its MATLAB files."""

from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.sparse import issparse

from workflow_scripts.errors import UserError


def read_contours(path: Path) -> np.ndarray:
    """Union over the classes of `GTcls.Boundaries` of a file `cls/{id}.mat`, bool (H, W).

    Raises:
        UserError: the file is damaged or has no such maps.
    """
    try:
        boundaries = np.asarray(loadmat(path, variable_names=["GTcls"])["GTcls"][0, 0]["Boundaries"], object).ravel()
        maps = [np.asarray(item.toarray() if issparse(item) else item) > 0 for item in boundaries]
        return np.logical_or.reduce(maps)
    except Exception as error:  # a damaged file makes the reader raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path}: no boundaries GTcls.Boundaries can be read ({reason[:200]}); unpack SBD's archive again"
        ) from None
