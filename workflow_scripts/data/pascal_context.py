"""Labels of the whole scene of PASCAL VOC's photographs: PASCAL-Context (Mottaghi et al., CVPR 2014), from its MATLAB files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from workflow_scripts.errors import UserError

NAMES = "labels.txt"  # lines such as "397: track"


def read_names(folder: Path) -> dict[str, int]:
    """Labels by name, from `labels.txt`.

    Raises:
        UserError: the file is missing, or a line is no number and name.
    """
    path = folder / NAMES
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); put PASCAL-Context's labels.txt there") from None
    names = {}
    for number, line in enumerate(lines, start=1):
        value, colon, name = line.partition(":")
        if not line.strip():
            continue
        if not colon or not value.strip().isdigit():
            raise UserError(f"{path}, line {number}: {line.strip()!r} is not 'number: name'; restore the file")
        names[name.strip()] = int(value)
    return names


def read_context(path: Path, labels: Sequence[int]) -> np.ndarray:
    """`LabelMap` of a file `{id}.mat`, reduced to the labels asked for: k + 1 for `labels[k]`, else 0; uint8 (H, W).

    Raises:
        UserError: the file is damaged or has no such map.
    """
    try:
        found = np.asarray(loadmat(path, variable_names=["LabelMap"])["LabelMap"])
    except Exception as error:  # a damaged file makes the reader raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: no map LabelMap can be read ({reason[:200]}); unpack PASCAL-Context again") from None
    context = np.zeros(found.shape, np.uint8)
    for number, label in enumerate(labels, start=1):
        context[found == label] = number
    return context
