"""Training samples. A sample is a pure function of (seed, epoch, image), a batch of (seed, iteration)."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from workflow_scripts.artifacts import Reader
from workflow_scripts.data import transforms
from workflow_scripts.data.index import Images, Index
from workflow_scripts.data.jitter import jitter_colours
from workflow_scripts.errors import UserError


def generator(seed: int, epoch: int, identifier: str) -> np.random.Generator:
    """The augmentation's generator for one image in one epoch."""
    return np.random.default_rng([seed, epoch, zlib.crc32(identifier.encode())])


class BatchSampler(Sampler):
    """Yields lists of (epoch, position); every epoch shuffled anew, what is left over at its end dropped.

    Args:
        count: images.
        batch: images per step; with fewer images than that, every batch repeats the epoch's images.
        start: iteration to begin with, for a resumed run.
    """

    def __init__(self, count: int, batch: int, iterations: int, seed: int, start: int = 0):
        self.count, self.batch, self.iterations, self.seed, self.start = count, batch, iterations, seed, start

    def __len__(self) -> int:
        return self.iterations - self.start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = max(1, self.count // self.batch)
        order, current = None, -1
        for iteration in range(self.start, self.iterations):
            epoch, step = divmod(iteration, per_epoch)
            if epoch != current:
                order, current = np.random.default_rng([self.seed, epoch]).permutation(self.count), epoch
            chosen = np.resize(order, per_epoch * self.batch)[step * self.batch : (step + 1) * self.batch]
            yield [(epoch, int(position)) for position in chosen]


class ClassificationSamples(Dataset):
    """Image, image-level labels and, where given, saliency, augmented together (PSA and EPS).

    The long side is resized to a random length, the image mirrored half of the time, its colours jittered, and a random
    square cropped; what a small image does not fill is the mean colour (zero after normalisation) and saliency 0.
    """

    def __init__(self, index: Index, images: Images, split: str, recipe, seed: int, saliency: str | None = None):
        self.index, self.images, self.recipe, self.seed = index, images, recipe, seed
        self.ids = index.split(split)
        self.saliency = Reader(saliency, "saliency", index.dataset) if saliency else None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        epoch, position = key
        identifier = self.ids[position]
        rng = generator(self.seed, epoch, identifier)
        image = self.images.read(identifier)
        height, width = image.shape[:2]
        long_side = rng.integers(self.recipe.long_side[0], self.recipe.long_side[1] + 1)
        size = transforms.scaled_size(height, width, long_side / max(height, width))
        image = transforms.resized(image, *size)
        mirrored = rng.random() < 0.5
        placement = transforms.place(*size, self.recipe.crop, rng)
        image = jitter_colours(image, self.recipe.jitter, rng)
        if mirrored:
            image = image[:, ::-1]
        canvas = torch.zeros(3, self.recipe.crop, self.recipe.crop)
        canvas[:, *placement.canvas] = transforms.normalise(image[placement.source])
        sample = {"image": canvas, "labels": torch.from_numpy(self.index.labels[self.index.row[identifier]]).float()}
        if self.saliency:
            saliency = self.saliency.read(identifier)["saliency"]
            if saliency.shape != (height, width):
                raise UserError(
                    f"{self.saliency.path}: map of {identifier!r} is not as large as its image; delete it and run again"
                )
            saliency = transforms.resized(saliency, *size)
            saliency = saliency[:, ::-1] if mirrored else saliency
            sample["saliency"] = torch.zeros(1, self.recipe.crop, self.recipe.crop)
            patch = np.ascontiguousarray(saliency[placement.source])
            sample["saliency"][:, *placement.canvas] = torch.from_numpy(patch).float() / 255
        return sample


class SegmentationSamples(Dataset):
    """Image and label map, scaled by one of the factors, mirrored half of the time and cropped; padding is ignored (255)."""

    def __init__(self, index: Index, images: Images, split: str, recipe, seed: int, masks: str):
        self.images, self.recipe, self.seed = images, recipe, seed
        self.masks = Reader(masks, "mask", index.dataset)
        self.ids: Sequence[str] = index.split(split)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        epoch, position = key
        identifier = self.ids[position]
        rng = generator(self.seed, epoch, identifier)
        image, label = self.images.read(identifier), self.masks.read(identifier)["label"]
        if label.shape != image.shape[:2]:
            raise UserError(
                f"{self.masks.path}: mask of {identifier!r} is not as large as its image; delete it and run again"
            )
        size = transforms.scaled_size(*label.shape, float(rng.choice(self.recipe.scales)))
        image, label = transforms.resized(image, *size), transforms.resized(label, *size, nearest=True)
        if rng.random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        placement = transforms.place(*size, self.recipe.crop, rng)
        canvas = torch.zeros(3, self.recipe.crop, self.recipe.crop)
        canvas[:, *placement.canvas] = transforms.normalise(image[placement.source])
        target = torch.full((self.recipe.crop, self.recipe.crop), 255, dtype=torch.long)
        target[placement.canvas] = torch.from_numpy(np.ascontiguousarray(label[placement.source])).long()
        return {"image": canvas, "label": target}
