"""Training samples of classifiers that learn from boxes. A sample is a pure function of (seed, epoch, image)."""

import numpy as np
import torch

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.boxes import background_mask, boxes_of
from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.samples.image_samples import ImageSamples
from workflow_scripts.data.samples.scaled_crops import ScaledCrop


class BoxSamples(ImageSamples):
    """Image, boxes and the mask of sure background, augmented together (BANA).

    `boxes` has as many rows as the image with most of them needs; rows that are no box have class -1. What an image
    does not fill is neither object nor sure background.
    """

    def __init__(self, index: Index, images: Images, split: str, recipe, seed: int):
        super().__init__(index, images, split, recipe, seed)
        self.rows = max(len(boxes_of(index, identifier)) for identifier in self.ids)
        if not self.rows:
            raise UserError(f"{index.path}: no image of split {split!r} has a box; give boxes, or name another method")

    def sample(self, identifier: str, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        image, boxes = self.images.read(identifier), self.index.boxes_of(identifier)
        height, width = image.shape[:2]
        crop = ScaledCrop.draw(height, width, self.recipe, rng)
        kept = torch.from_numpy(crop.boxes(boxes))
        rows = torch.full((self.rows, 5), -1.0)
        rows[: len(kept)] = kept
        background = crop.map(background_mask(boxes, height, width), outside=0)
        return crop.image(image, self.recipe, rng) | {"background": background[None].float(), "boxes": rows}
