"""Truth masks and true instances of PASCAL VOC, from its masks of classes and objects, and of SBD's further images."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index import Index
from workflow_scripts.data.instances import Instances, from_masks
from workflow_scripts.data.readers import class_masks
from workflow_scripts.data.readers.images import VOID, read_label_png
from workflow_scripts.data.readers.sbd import read_instances, read_label_mat
from workflow_scripts.run.command import plain

VOC_CLASSES = tuple(
    "aeroplane bicycle bird boat bottle bus car cat chair cow "
    "diningtable dog horse motorbike person pottedplant sheep sofa train tvmonitor".split()
)


def mask_ids(classes: Sequence[str]) -> dict[int, int]:
    """From the values in masks to the classes 1..C: VOC's ids if all classes are VOC's, else 1..C as they are."""
    if all(name in VOC_CLASSES for name in classes):
        return {VOC_CLASSES.index(name) + 1: number for number, name in enumerate(classes, start=1)}
    return {number: number for number in range(1, len(classes) + 1)}


def truth(settings: Any, index: Index) -> Callable[[str], dict[str, np.ndarray]]:
    """The function from an image's id to its `label`: VOC's own mask, which has void borders; of SBD where there is none.

    Args:
        settings: `root` and `masks`, folders of VOC; `mask_ids`, their values by class, or null; `sbd`, folder of SBD or null; `classes`.
        index: of the data set.
    """
    ids, folder = mask_ids(settings.classes), Path(settings.root) / settings.masks
    read_png = class_masks.reader(lambda identifier: folder / f"{identifier}.png", settings, index, ids)

    def read(identifier: str) -> dict[str, np.ndarray]:
        mat = _of_sbd(settings, "cls", identifier, folder)
        return {"label": read_label_mat(mat, ids) if mat else read_png(identifier)}

    return read


def instances(settings: Any, index: Index) -> Callable[[str], Instances]:
    """The function from an image's id to its instances; pixels that VOC leaves void are of no object.

    Args:
        settings: as of `truth`, and `objects`, a folder of VOC.
        index: of the data set.
    """
    ids, root = mask_ids(settings.classes), Path(settings.root)
    own = class_masks.given_ids(settings.classes, plain(settings.mask_ids)) or ids
    read_png = partial(read_label_png, oriented=index.oriented)

    def read(identifier: str) -> Instances:
        path = root / settings.objects / f"{identifier}.png"
        if mat := _of_sbd(settings, "inst", identifier, path.parent):
            found, path = read_instances(mat, ids), mat
        else:
            labels = read_png(root / settings.masks / f"{identifier}.png", own, len(index.classes))
            found = of_maps(read_png(path, None, VOID), labels, str(path))
        height, width = index.size_of(identifier)
        if len(found) and (found.windows[:, 1].max() > height or found.windows[:, 3].max() > width):
            raise UserError(f"{path}: larger than its image of {height} x {width} (H x W); restore the mask")
        return found

    return read


def _of_sbd(settings: Any, part: str, identifier: str, folder: Path) -> Path | None:
    """The file of SBD of an image that has no mask in VOC's folder."""
    path = Path(settings.sbd or "") / part / f"{identifier}.mat"
    return path if settings.sbd and not (folder / f"{identifier}.png").exists() and path.exists() else None


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
