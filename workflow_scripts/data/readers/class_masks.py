"""Truth masks as PNG, whose values are classes: those that the data set gives, or those of its kind."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.data.index import Index
from workflow_scripts.data.readers.images import read_label_png
from workflow_scripts.run.command import plain

MOST_SHOWN = 20  # values of classes in a message


def given_ids(classes: Sequence[str], given: Mapping[str, int] | None) -> dict[int, int] | None:
    """From the values in masks to the classes 1..C, as `mask_ids` of a data set says; None where it says nothing."""
    return None if given is None else {given[name]: number for number, name in enumerate(classes, start=1)}


def reader(
    path_of: Callable[[str], Path], settings: Any, index: Index, ids: dict[int, int] | None = None
) -> Callable[[str], np.ndarray]:
    """The function from an image's id to its label map, uint8 (H, W): 0 background, 1..C classes, 255 ignored.

    Args:
        path_of: the mask of an image.
        settings: `mask_ids`, values by class, or null.
        ids: from the values that masks have otherwise to the classes; 1..C as they are if None.
    """
    classes, own = index.classes, {number: number for number in range(1, len(index.classes) + 1)}
    given = given_ids(classes, plain(settings.mask_ids))
    why = "" if given or ids in (None, own) else ", as in PASCAL VOC, whose names the classes have"
    values = given or ids or own
    expected = ", ".join(f"{value} for {classes[number - 1]}" for value, number in list(values.items())[:MOST_SHOWN])
    example = json.dumps({name: number for number, name in enumerate(classes[:MOST_SHOWN], start=1)})
    way_out = f"expected {expected}{why}; set other values by `mask_ids: {example}` in the data set, or "
    return lambda identifier: read_label_png(path_of(identifier), values, len(classes), index.oriented, way_out)
