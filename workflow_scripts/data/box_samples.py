"""Training samples of classifiers that learn from boxes. A sample is a pure function of (seed, epoch, image)."""

import torch
from torch.utils.data import Dataset

from workflow_scripts.data.batches import generator
from workflow_scripts.data.boxes import background_mask, boxes_of
from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.scaled_crops import ScaledCrop
from workflow_scripts.errors import UserError


class BoxSamples(Dataset):
    """Image, boxes and the mask of sure background, augmented together (BANA).

    `boxes` has as many rows as the image with most of them needs; rows that are no box have class -1. What an image
    does not fill is neither object nor sure background.
    """

    def __init__(self, index: Index, images: Images, split: str, recipe, seed: int):
        self.index, self.images, self.recipe, self.seed = index, images, recipe, seed
        self.ids = index.split(split)
        self.rows = max(len(boxes_of(index, identifier)) for identifier in self.ids)
        if not self.rows:
            raise UserError(f"{index.path}: no image of split {split!r} has a box; give boxes, or name another method")

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        epoch, position = key
        identifier = self.ids[position]
        rng = generator(self.seed, epoch, identifier)
        image, boxes = self.images.read(identifier), self.index.boxes_of(identifier)
        crop = ScaledCrop.draw(*image.shape[:2], self.recipe, rng)
        kept = torch.from_numpy(crop.boxes(boxes))
        rows = torch.full((self.rows, 5), -1.0)
        rows[: len(kept)] = kept
        background = crop.map(background_mask(boxes, *image.shape[:2]), outside=0)
        return crop.image(image, self.recipe, rng) | {"background": background[None].float(), "boxes": rows}
