"""Training samples of segmentation networks. A sample is a pure function of (seed, epoch, image)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from workflow_scripts.artifacts import Reader
from workflow_scripts.data import transforms
from workflow_scripts.data.batches import generator
from workflow_scripts.data.canvas import on_canvas
from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.label_maps import read_label_maps


class SegmentationSamples(Dataset):
    """Image and label map, scaled by one of the factors, mirrored half of the time and cropped; padding is ignored (255)."""

    schema = "mask"

    def __init__(self, index: Index, images: Images, split: str, recipe, seed: int, masks: str):
        self.images, self.recipe, self.seed = images, recipe, seed
        self.masks = Reader(masks, self.schema, index.dataset)
        self.ids: Sequence[str] = index.split(split)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        epoch, position = key
        identifier = self.ids[position]
        rng = generator(self.seed, epoch, identifier)
        image = self.images.read(identifier)
        label = read_label_maps(self.masks, identifier, image.shape[:2])["label"]
        size = transforms.scaled_size(*label.shape, float(rng.choice(self.recipe.scales)))
        image, label = transforms.resized(image, *size), transforms.resized(label, *size, nearest=True)
        if rng.random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        placement = transforms.place(*size, self.recipe.crop, rng)
        sample = on_canvas(image[placement.source], placement.canvas, self.recipe.crop, self.recipe.augment)
        target = torch.full((self.recipe.crop, self.recipe.crop), 255, dtype=torch.long)
        target[placement.canvas] = torch.from_numpy(np.ascontiguousarray(label[placement.source])).long()
        return sample | {"label": target}
