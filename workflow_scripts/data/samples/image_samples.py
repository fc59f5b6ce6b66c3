"""What all training samples share: the images of a split, and a random generator for each image in each epoch."""

from abc import ABC, abstractmethod

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.samples.batches import generator


class ImageSamples(Dataset, ABC):
    """Indexed by (epoch, position in the split). A sample is a pure function of (seed, epoch, image)."""

    def __init__(self, index: Index, images: Images, split: str, recipe, seed: int):
        self.index, self.images, self.recipe, self.seed = index, images, recipe, seed
        self.ids = index.split(split)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor]:
        epoch, position = key
        identifier = self.ids[position]
        return self.sample(identifier, generator(self.seed, epoch, identifier))

    @abstractmethod
    def sample(self, identifier: str, rng: np.random.Generator) -> dict[str, Tensor]:
        """The augmented image and what goes with it, as the losses read it."""
