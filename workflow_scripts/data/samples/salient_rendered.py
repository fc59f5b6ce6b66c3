"""Rendered class-less objects to train a saliency network on, held in memory."""

import numpy as np

from workflow_scripts.data.synthetic.synthetic_salient import render_salient


class Rendered:
    """The first `count` pictures of a seed and their masks."""

    def __init__(self, count: int, seed: int):
        self.names = [str(number) for number in range(count)]
        self.scenes = [render_salient(seed, number) for number in range(count)]

    def read(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """Image, uint8 (96, 128, 3), and mask, uint8 (96, 128), 0 or 255."""
        image, mask = self.scenes[position]
        return image, mask * np.uint8(255)
