"""Training samples of classifiers. A sample is a pure function of (seed, epoch, image)."""

import numpy as np
import torch

from workflow_scripts.base.errors import UserError
from workflow_scripts.data import transforms
from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.samples.canvas import on_canvas
from workflow_scripts.data.samples.image_samples import ImageSamples
from workflow_scripts.data.samples.jitter import draw_jitter, jitter_colours
from workflow_scripts.store.artifacts import Reader


class ClassificationSamples(ImageSamples):
    """Image, image-level labels and, where given, saliency, augmented together (PSA and EPS).

    The long (SeeNet: short) side is resized to a random length, the image mirrored half of the time, its colours jittered, and a random
    square cropped; what a small image does not fill is the mean colour (zero after normalisation) and saliency 0.
    """

    def __init__(self, index: Index, images: Images, split: str, recipe, seed: int, saliency: str | None = None):
        super().__init__(index, images, split, recipe, seed)
        self.saliency = Reader(saliency, "saliency", index.dataset) if saliency else None

    def sample(self, identifier: str, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        image = self.images.read(identifier)
        height, width = image.shape[:2]
        low, high = self.recipe.long_side or self.recipe.short_side
        side = max(height, width) if self.recipe.long_side else min(height, width)
        size = transforms.scaled_size(height, width, rng.integers(low, high + 1) / side)
        image = transforms.resized(image, *size)
        mirrored = rng.random() < 0.5
        placement = transforms.place(*size, self.recipe.crop, rng)
        steps = draw_jitter(self.recipe.jitter, rng)
        if self.recipe.augment == "worker":
            image = jitter_colours(image, steps)
        if mirrored:
            image = image[:, ::-1]
        patch, crop, augment = image[placement.source], self.recipe.crop, self.recipe.augment
        sample = on_canvas(patch, placement.canvas, crop, augment, steps=steps)
        sample["labels"] = torch.from_numpy(self.index.labels[self.index.row[identifier]]).float()
        if self.saliency:
            saliency = self.saliency.read(identifier)["saliency"]
            if saliency.shape != (height, width):
                raise UserError(
                    f"{self.saliency.path}: map of {identifier!r} is not as large as its image; delete it and run again"
                )
            saliency = transforms.resized(saliency, *size)
            saliency = saliency[:, ::-1] if mirrored else saliency
            sample["saliency"] = torch.zeros(1, self.recipe.crop, self.recipe.crop)
            patch = transforms.as_tensor(saliency[placement.source])
            sample["saliency"][:, *placement.canvas] = patch.float() / 255
        return sample
