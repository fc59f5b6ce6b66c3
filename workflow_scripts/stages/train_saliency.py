"""Train the small saliency network on rendered class-less objects, as PFAN was trained on DUTS."""

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import Dataset

from workflow_scripts.command import Job, run
from workflow_scripts.data.samples import generator
from workflow_scripts.data.synthetic_salient import render_salient
from workflow_scripts.data.transforms import normalise
from workflow_scripts.plugins import plugin
from workflow_scripts.training.device import deterministic
from workflow_scripts.training.loop import train


class Salient(Dataset):
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


def iou_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """1 - the soft intersection over union of each image, averaged (BASNet, Qin et al., CVPR 2019, Eq. 8).

    Args:
        logits: (B, 1, H, W).
        masks: (B, 1, H, W), 0 or 1, none of them empty.
    """
    probabilities = logits.sigmoid()
    both = (probabilities * masks).sum(dim=(1, 2, 3))
    return (1 - both / (probabilities + masks - probabilities * masks).sum(dim=(1, 2, 3))).mean()


def main(job: Job) -> None:
    block = job.settings.block
    deterministic(block.seed, job.settings.threads)
    network = plugin("networks", "saliency").SaliencyNetwork()

    def losses(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        logits = network(batch["image"]).float()
        return {
            "saliency": binary_cross_entropy_with_logits(logits, batch["mask"]),
            "iou": iou_loss(logits, batch["mask"]),
        }

    samples = Salient(block.images, block.seed)
    train(
        network, losses, samples, block.recipe,
        seed=block.seed, fingerprint=job.fingerprint, output=job.outputs.weights, curve=job.outputs.curve,
    )  # fmt: skip


if __name__ == "__main__":
    run(main, outputs=("weights", "curve"))
