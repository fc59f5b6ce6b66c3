"""Labels of the whole scene of PASCAL VOC's photographs: PASCAL-Context (Mottaghi et al., CVPR 2014), from its MATLAB files."""

import re
from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.data.readers.mat_files import Damaged, read_variable

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
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); restore the file") from None
    names = {}
    for number, line in enumerate(lines, start=1):
        value, colon, name = line.partition(":")
        if not line.strip():
            continue
        if not colon or not re.fullmatch("[0-9]{1,9}", value.strip()):
            raise UserError(f"{path}, line {number}: {line.strip()[:60]!r} is not 'number: name'; restore the file")
        names[name.strip()] = int(value)
    return names


def read_context(path: Path) -> np.ndarray:
    """`LabelMap` of a file `{id}.mat`: the number of a label in each pixel, (H, W).

    Raises:
        UserError: the file is damaged or has no such map.
    """
    try:
        found = np.asarray(read_variable(path, "LabelMap"))
        if found.ndim != 2 or found.dtype.kind not in "uif":
            raise Damaged("no map of numbers")
    except (OSError, Damaged, ValueError) as error:  # the last: cells of several sizes
        raise UserError(
            f"{path}: no map LabelMap can be read ({one_line(error)}); unpack PASCAL-Context again"
        ) from None
    return found
