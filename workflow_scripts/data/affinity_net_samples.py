"""Training samples of AffinityNet: an image and the label map of its feature cells."""

import numpy as np
import torch
from torch.utils.data import Dataset

from workflow_scripts.artifacts import Reader
from workflow_scripts.data import transforms
from workflow_scripts.data.batches import generator
from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.jitter import jitter_colours


class Samples(Dataset):
    """Colours jittered, never rescaled, cropped and mirrored half of the time, as AffinityNet was trained.

    The crop starts at a multiple of the cell, so that cells of the crop are cells of the image. What a small image does
    not fill is black in the image, as published, and unknown (255) in the label.
    """

    def __init__(self, index: Index, images: Images, split: str, recipe, seed: int, labels: str, stride: int):
        self.images, self.recipe, self.seed, self.cell = images, recipe, seed, stride
        self.ids = index.split(split)
        self.labels = Reader(labels, "affinity_labels", index.dataset)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        epoch, position = key
        identifier = self.ids[position]
        rng, cell = generator(self.seed, epoch, identifier), self.cell
        image = jitter_colours(self.images.read(identifier), self.recipe.jitter, rng)
        label = self.labels.read(identifier)["label"]
        height, width = label.shape
        padded = np.zeros((height * cell, width * cell, 3), np.uint8)
        padded[: image.shape[0], : image.shape[1]] = image
        cells = self.recipe.crop // cell
        placement = transforms.place(height, width, cells, rng)
        target = np.full((cells, cells), 255, np.uint8)
        target[placement.canvas] = label[placement.source]
        canvas = np.zeros((cells * cell, cells * cell, 3), np.uint8)
        canvas[_pixels(placement.canvas, cell)] = padded[_pixels(placement.source, cell)]
        if rng.random() < 0.5:
            canvas, target = canvas[:, ::-1], target[:, ::-1]
        return {"image": transforms.normalise(canvas), "label": torch.from_numpy(np.ascontiguousarray(target))}


def _pixels(cells: tuple[slice, slice], size: int) -> tuple[slice, ...]:
    return tuple(slice(part.start * size, part.stop * size) for part in cells)
