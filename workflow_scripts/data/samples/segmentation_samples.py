"""Training samples of segmentation networks. A sample is a pure function of (seed, epoch, image)."""

import numpy as np
import torch

from workflow_scripts.data import transforms
from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.samples.canvas import on_canvas
from workflow_scripts.data.samples.image_samples import ImageSamples
from workflow_scripts.data.samples.label_maps import read_label_maps
from workflow_scripts.store.artifacts import Reader


class SegmentationSamples(ImageSamples):
    """Image and label map, scaled by one of the factors, mirrored half of the time and cropped; padding is ignored (255)."""

    schema = "mask"

    def __init__(self, index: Index, images: Images, split: str, recipe, seed: int, masks: str):
        super().__init__(index, images, split, recipe, seed)
        self.masks = Reader(masks, self.schema, index.dataset)

    def sample(self, identifier: str, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        image = self.images.read(identifier)
        label = read_label_maps(self.masks, identifier, image.shape[:2])["label"]
        height, width = label.shape
        size = transforms.scaled_size(height, width, float(rng.choice(self.recipe.scales)))
        image, label = transforms.resized(image, *size), transforms.resized(label, *size, nearest=True)
        if rng.random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        placement = transforms.place(*size, self.recipe.crop, rng)
        sample = on_canvas(image[placement.source], placement.canvas, self.recipe.crop, self.recipe.augment)
        target = torch.full((self.recipe.crop, self.recipe.crop), 255, dtype=torch.long)
        target[placement.canvas] = transforms.as_tensor(label[placement.source]).long()
        return sample | {"label": target}
