"""Masks in a folder SegmentationClass, as VOC and CVAT's "Segmentation mask 1.1" have them, by the names of their values."""

from collections.abc import Iterable
from pathlib import PurePosixPath

import numpy as np

from workflow_scripts.data.imports.records import Told
from workflow_scripts.data.imports.source import CLASS_MASKS, Source
from workflow_scripts.data.readers import labelmap
from workflow_scripts.data.readers.mask_folder import LABELMAP, MaskFolder
from workflow_scripts.data.readers.voc_masks import VOC_CLASSES


class SegmentationMasks:
    """The masks of the folder that has most of them, where it is known what their values stand for.

    Values go by `labelmap.txt`; without one they are PASCAL VOC's, if all classes are.

    Args:
        classes: that the annotations name.

    Raises:
        UserError: a labelmap.txt that cannot be read.
    """

    def __init__(self, source: Source, classes: Iterable[str], told: Told):
        by_folder: dict[str, dict[str, str]] = {}
        for name in source.all_files:
            path = PurePosixPath(name)
            if path.parent.name.startswith(CLASS_MASKS) and path.suffix.lower() == ".png":
                by_folder.setdefault(str(path.parent), {})[path.stem] = name
        folder = max(by_folder, key=lambda one: len(by_folder[one]), default="")
        self.files = by_folder.get(folder, {})
        self.names: tuple[str, ...] = VOC_CLASSES
        root = PurePosixPath(folder).parent
        if self.files and str(root / LABELMAP) in source.all_files and PurePosixPath(folder).name == CLASS_MASKS:
            listed = labelmap.parsed(source.text(str(root / LABELMAP)), str(source.root / root / LABELMAP))
            known = [name for name, _ in listed if name not in (labelmap.BACKGROUND, labelmap.IGNORED)]
            self.names = tuple(known)
            self._masks = MaskFolder(source.root / root, self.names)
        elif self.files and {*classes} <= {*VOC_CLASSES}:
            self._masks = MaskFolder(source.root / folder, self.names)
        elif self.files:
            told.note("nameless_values", folder)
            self.files = {}

    def read(self, identifier: str, size: tuple[int, int], oriented: bool) -> np.ndarray:
        """uint8 (H, W): 0 background, 1 for the first of `names`, 255 ignored.

        Raises:
            UserError: no readable mask of that size.
        """
        return self._masks.read(identifier, size, oriented)
