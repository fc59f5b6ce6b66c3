"""Label maps of an image as training reads them."""

from collections.abc import Sequence

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.store.artifacts import Reader


def read_label_maps(
    masks: Reader, identifier: str, size: tuple[int, int], names: Sequence[str] = ("label",)
) -> dict[str, np.ndarray]:
    """The label maps of these names, each uint8 (H, W), of one image.

    Raises:
        UserError: the artifact has no map of a name, or one is not as large as the image, `size`.
    """
    labels = masks.read(identifier)
    for name in names:
        if name not in labels:
            raise UserError(
                f"{masks.path}: holds one label map, this loss compares two; name masks of rule 'box_unary' or another loss"
            )
        if labels[name].shape != size:
            raise UserError(
                f"{masks.path}: mask of {identifier!r} is not as large as its image; delete it and run again"
            )
    return {name: labels[name] for name in names}
