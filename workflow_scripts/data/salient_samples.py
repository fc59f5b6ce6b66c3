"""Training samples of the small saliency network: rendered class-less objects, held in memory."""

import numpy as np
import torch
from torch.utils.data import Dataset

from workflow_scripts.data.batches import generator
from workflow_scripts.data.synthetic_salient import render_salient
from workflow_scripts.data.transforms import normalise


class SalientSamples(Dataset):
    """Rendered class-less objects and their masks, mirrored half of the time."""

    def __init__(self, count: int, seed: int):
        self.seed = seed
        self.scenes = [render_salient(seed, number) for number in range(count)]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        epoch, number = key
        image, mask = self.scenes[number]
        if generator(self.seed, epoch, str(number)).random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return {"image": normalise(image), "mask": torch.from_numpy(np.ascontiguousarray(mask)).float()[None]}
