"""Training samples of instance segmentation. A sample is a pure function of (seed, epoch, image)."""

import numpy as np
import torch

from workflow_scripts.data import transforms
from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.instances import Instances
from workflow_scripts.data.samples.canvas import on_canvas
from workflow_scripts.data.samples.image_samples import ImageSamples
from workflow_scripts.data.samples.jitter import draw_jitter, jitter_colours
from workflow_scripts.store.artifacts import Reader


class InstanceSamples(ImageSamples):
    """Image with its instances, resized, mirrored half of the time, in the upper left corner of the canvas.

    Of each instance there is its box, and its mask as a map of `frame` x `frame` cells with the rectangle that it fills,
    so that a sample has one size however many pixels its masks have. Crowd regions are left out. Of an image with more
    than `recipe.most` instances so many are drawn.
    """

    def __init__(self, index: Index, images: Images, split: str, recipe, seed: int, instances: str, frame: int):
        super().__init__(index, images, split, recipe, seed)
        self.instances, self.frame = Reader(instances, "instances", index.dataset), frame

    def sample(self, identifier: str, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        recipe, image = self.recipe, self.images.read(identifier)
        instances = Instances.from_arrays(self.instances.read(identifier))
        low, high = recipe.short_side
        height, width = image.shape[:2]
        scale = min(int(rng.integers(low, high + 1)) / min(height, width), recipe.crop / max(height, width))
        height, width = transforms.scaled_size(height, width, scale)
        mirrored, steps = bool(rng.random() < 0.5), draw_jitter(recipe.jitter, rng)
        patch = transforms.resized(image, height, width)
        if recipe.augment == "worker":
            patch = jitter_colours(patch, steps)
        patch = patch[:, ::-1] if mirrored else patch
        window = (slice(0, height), slice(0, width))
        sample = on_canvas(patch, window, recipe.crop, recipe.augment, steps=steps)
        factors = np.array([width / image.shape[1], height / image.shape[0]] * 2)
        return (
            sample | {"size": torch.tensor([height, width])} | self._targets(instances, factors, mirrored, width, rng)
        )

    def _targets(self, instances: Instances, factors: np.ndarray, mirrored: bool, width: int, rng) -> dict:
        most, frame = self.recipe.most, self.frame
        rows = np.arange(len(instances)) if instances.crowd is None else np.flatnonzero(instances.crowd == 0)
        if len(rows) > most:
            rows = np.sort(rng.choice(rows, most, replace=False))
        boxes, frames = torch.full((most, 5), -1.0), torch.zeros(most, 4)
        masks = torch.zeros(most, frame, frame, dtype=torch.uint8)
        for number, row in enumerate(rows):
            box = _moved(instances.boxes[row, :4], factors, mirrored, width)
            box[2:] = np.maximum(box[2:], box[:2] + 1)  # boxes of less than a pixel
            boxes[number] = torch.tensor([*box, instances.boxes[row, 4]])
            filled = _moved(instances.windows[row, [2, 0, 3, 1]], factors, mirrored, width)
            frames[number] = torch.from_numpy(filled)
            mask = transforms.resized(instances.patches[row], frame, frame, nearest=True)
            masks[number] = transforms.as_tensor(mask[:, ::-1] if mirrored else mask)
        return {"boxes": boxes, "frames": frames, "masks": masks}


def _moved(corners: np.ndarray, factors: np.ndarray, mirrored: bool, width: int) -> np.ndarray:
    """x0, y0, x1, y1 of a rectangle after resizing and mirroring."""
    x0, y0, x1, y1 = corners * factors
    return np.array([width - x1, y0, width - x0, y1] if mirrored else [x0, y0, x1, y1], np.float32)
