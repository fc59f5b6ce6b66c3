"""Training samples of BANA's segmentation networks. A sample is a pure function of (seed, epoch, image)."""

from collections.abc import Sequence

import numpy as np
import torch

from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.samples.image_samples import ImageSamples
from workflow_scripts.data.samples.label_maps import read_label_maps
from workflow_scripts.data.samples.scaled_crops import ScaledCrop
from workflow_scripts.store.artifacts import Reader


class CosineSamples(ImageSamples):
    """Image and one or two label maps, augmented together; padding is ignored (255)."""

    def __init__(
        self, index: Index, images: Images, split: str, recipe, seed: int, masks: str, maps: Sequence[str] = ("label",)
    ):
        super().__init__(index, images, split, recipe, seed)
        self.maps, self.masks = maps, Reader(masks, "mask", index.dataset)

    def sample(self, identifier: str, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        image = self.images.read(identifier)
        height, width = image.shape[:2]
        labels = read_label_maps(self.masks, identifier, (height, width), self.maps)
        crop = ScaledCrop.draw(height, width, self.recipe, rng)
        sample = {name: crop.map(label, outside=255) for name, label in labels.items()}
        return crop.image(image, self.recipe, rng) | sample
