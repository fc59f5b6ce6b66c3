"""Saliency maps that other detectors made of a data set, to distill them into a network: no labels."""

from collections.abc import Sequence

import numpy as np

from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.otsu import otsu
from workflow_scripts.store.artifacts import Reader


class Maps:
    """The images of a split and the mean of their maps.

    Args:
        maps: artifacts of saliency; with that of the network of the round before among them, targets change slowly, as
            the moving average of DeepUSPS (Nguyen et al., NeurIPS 2019) does.
        binary: targets are cut at Otsu's threshold, each image at its own.
    """

    def __init__(self, index: Index, images: Images, split: str, maps: Sequence[str], binary: bool):
        self.names = index.split(split)
        self.images, self.binary = images, binary
        self.readers = [Reader(path, "saliency", index.dataset) for path in maps]

    def read(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Image, uint8 (H, W, 3) RGB, and map, uint8 (H, W)."""
        name = self.names[position]
        total = np.mean([reader.read(name)["saliency"] for reader in self.readers], axis=0)
        target = np.rint(total).astype(np.uint8)
        if self.binary:
            target = np.where(target > otsu(target), 255, 0).astype(np.uint8)
        return self.images.read(name), target
