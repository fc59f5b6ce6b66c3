"""Otsu's threshold."""

import numpy as np


def otsu(values: np.ndarray) -> int:
    """The grey level t that best parts {<= t} from {> t}: greatest variance between the two (Otsu, 1979).

    Args:
        values: uint8 of any shape. All equal, the level is theirs.
    """
    counts = np.bincount(values.ravel(), minlength=256).astype(np.float64)
    below, moment = counts.cumsum(), (counts * np.arange(256)).cumsum()
    apart = below * (below[-1] - below)
    between = np.divide((moment[-1] * below / below[-1] - moment) ** 2, apart, out=np.zeros(256), where=apart > 0)
    return int(between.argmax()) if between.any() else int(values.flat[0])
