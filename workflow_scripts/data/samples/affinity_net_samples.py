"""Training samples of AffinityNet: an image and the label map of its feature cells."""

import numpy as np
import torch

from workflow_scripts.data import transforms
from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.samples.canvas import on_canvas
from workflow_scripts.data.samples.image_samples import ImageSamples
from workflow_scripts.data.samples.jitter import draw_jitter, jitter_colours
from workflow_scripts.store.artifacts import Reader


class Samples(ImageSamples):
    """Colours jittered, never rescaled, cropped and mirrored half of the time, as AffinityNet was trained.

    The crop starts at a multiple of the cell, so that cells of the crop are cells of the image. What a small image does
    not fill is black in the image, as published, and unknown (255) in the label.
    """

    def __init__(self, index: Index, images: Images, split: str, recipe, seed: int, labels: str, stride: int):
        super().__init__(index, images, split, recipe, seed)
        self.cell = stride
        self.labels = Reader(labels, "affinity_labels", index.dataset)

    def sample(self, identifier: str, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        image, recipe, cell = self.images.read(identifier), self.recipe, self.cell
        steps = draw_jitter(recipe.jitter, rng)
        if recipe.augment == "worker":
            image = jitter_colours(image, steps)
        label = self.labels.read(identifier)["label"]
        cells = recipe.crop // cell
        height, width = label.shape
        placement = transforms.place(height, width, cells, rng)
        target = np.full((cells, cells), 255, np.uint8)
        target[placement.canvas] = label[placement.source]
        patch = image[tuple(slice(part.start * cell, part.stop * cell) for part in placement.source)]
        top, left = (part.start * cell for part in placement.canvas)
        if rng.random() < 0.5:
            patch, target, left = patch[:, ::-1], target[:, ::-1], cells * cell - left - patch.shape[1]
        window = slice(top, top + patch.shape[0]), slice(left, left + patch.shape[1])
        sample = on_canvas(patch, window, cells * cell, recipe.augment, "black", steps)
        return sample | {"label": transforms.as_tensor(target)}
