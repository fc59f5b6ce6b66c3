"""Training samples of BANA's segmentation networks. A sample is a pure function of (seed, epoch, image)."""

from collections.abc import Sequence

import torch
from torch.utils.data import Dataset

from workflow_scripts.artifacts import Reader
from workflow_scripts.data.batches import generator
from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.label_maps import read_label_maps
from workflow_scripts.data.scaled_crops import ScaledCrop


class CosineSamples(Dataset):
    """Image and one or two label maps, augmented together; padding is ignored (255)."""

    def __init__(
        self, index: Index, images: Images, split: str, recipe, seed: int, masks: str, maps: Sequence[str] = ("label",)
    ):
        self.images, self.recipe, self.seed, self.maps = images, recipe, seed, maps
        self.masks = Reader(masks, "mask", index.dataset)
        self.ids: Sequence[str] = index.split(split)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        epoch, position = key
        identifier = self.ids[position]
        rng = generator(self.seed, epoch, identifier)
        image = self.images.read(identifier)
        labels = read_label_maps(self.masks, identifier, image.shape[:2], self.maps)
        crop = ScaledCrop.draw(*image.shape[:2], self.recipe, rng)
        sample = {name: crop.map(label, outside=255) for name, label in labels.items()}
        return crop.image(image, self.recipe, rng) | sample
