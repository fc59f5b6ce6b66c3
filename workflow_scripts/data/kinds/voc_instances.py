"""True instances of PASCAL VOC, from its masks of objects and classes, and of SBD's further images."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.base.errors import UserError, one_line
from workflow_scripts.data.index import Index
from workflow_scripts.data.instances import Instances, from_masks
from workflow_scripts.data.kinds.voc import mask_ids
from workflow_scripts.data.readers.images import VOID, read_label_png
from workflow_scripts.data.readers.mat_files import UNREADABLE, read_variable
from workflow_scripts.run.command import plain

MOST_SHOWN = 30  # numbers in a message


def reader(settings: Any, index: Index) -> Callable[[str], Instances]:
    """The function from an image's id to its instances; pixels that VOC leaves void are of no object.

    Args:
        settings: `root`, `masks` and `objects`, folders of VOC; `mask_ids`, their values by class, or null; `sbd`, folder of SBD or
            null; `classes`.
        index: of the data set.
    """
    ids, own, root = (
        mask_ids(settings.classes),
        mask_ids(settings.classes, plain(settings.mask_ids)),
        Path(settings.root),
    )
    read_png = partial(read_label_png, oriented=index.oriented)

    def read(identifier: str) -> Instances:
        objects, mat = root / settings.objects / f"{identifier}.png", Path(settings.sbd or "") / "inst"
        mat /= f"{identifier}.mat"
        if settings.sbd and not objects.exists() and mat.exists():
            found, path = read_mat(mat, ids), mat
        else:
            labels = read_png(root / settings.masks / f"{identifier}.png", own, len(index.classes))
            found, path = of_maps(read_png(objects, None, VOID), labels, str(objects)), objects
        height, width = index.size_of(identifier)
        if len(found) and (found.windows[:, 1].max() > height or found.windows[:, 3].max() > width):
            raise UserError(f"{path}: larger than its image of {height} x {width} (H x W); restore the mask")
        return found

    return read


def of_maps(objects: np.ndarray, labels: np.ndarray, where: str) -> Instances:
    """Instances of a map of objects, 1..M, and one of labels, class + 1, both uint8 (H, W) with 255 void.

    Raises:
        UserError: maps of two sizes, or an object that is not of one class.
    """
    if objects.shape != labels.shape:
        raise UserError(f"{where}: not as large as the mask of classes; restore both")
    numbers = [int(number) for number in np.unique(objects) if number not in (0, VOID)]
    classes = []
    for number in numbers:
        found = np.setdiff1d(labels[objects == number], [VOID])
        if len(found) != 1 or not found[0]:
            raise UserError(f"{where}: object {number} is not of one class in the mask of classes; restore both")
        classes.append(int(found[0]) - 1)
    return from_masks([objects == number for number in numbers], classes)


def read_mat(path: Path, ids: dict[int, int]) -> Instances:
    """Instances of a file `inst/{id}.mat` of SBD: `GTinst.Segmentation`, 1..M, and `GTinst.Categories`.

    Args:
        ids: from an id of the file (those of PASCAL VOC) to a class 1..C.

    Raises:
        UserError: damaged, or with an id that is in no class.
    """
    try:
        content = read_variable(path, "GTinst")
        objects = np.asarray(content["Segmentation"])
        categories = [int(value) for value in np.asarray(content["Categories"]).ravel()]
    except UNREADABLE as error:
        raise UserError(
            f"{path}: no instances GTinst can be read ({one_line(error)}); unpack SBD's archive again"
        ) from None
    unknown = [value for value in categories if value not in ids]
    if unknown or objects.ndim != 2:
        raise UserError(
            f"{path}: categories {categories[:MOST_SHOWN]} with a map of {objects.ndim} dimensions, expected some of the "
            f"{len(ids)} classes; correct the list of classes or unpack SBD's archive again"
        )
    masks = [objects == number for number in range(1, len(categories) + 1)]
    return from_masks(masks, [ids[value] - 1 for value in categories])
