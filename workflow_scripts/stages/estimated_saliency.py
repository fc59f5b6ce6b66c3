"""The saliency maps that a classifier's class maps amount to, beside which a detector's can be seen (EPS, Fig. 3).

The class maps are the cached ones, the mean over test scales and mirrored copies; the detector's saliency decides
which of them are foreground, as in training.
"""

from collections.abc import Callable

import numpy as np
import torch

from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.by_image import store
from workflow_scripts.data.index import read_index
from workflow_scripts.data.maps import upsampled
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader


def estimate(maps: dict[str, np.ndarray], saliency: np.ndarray, classes: tuple[str, ...], options) -> np.ndarray:
    """The estimated saliency of one image, uint8 (H, W).

    Args:
        maps: `classes` (K,), `scores` (K, h, w) and `background` (h, w) of a cam artifact.
        saliency: the detector's, uint8 (H, W).
        classes: names of all object classes.
        options: of the classifier: selection, overlap_threshold, foreground_weight, predefined_background.
    """
    eps = plugin("methods", "eps")
    stored = np.concatenate([maps["scores"], maps["background"][None]]).astype(np.float32)
    given = torch.from_numpy(upsampled(stored, *saliency.shape))
    # What the absent classes share, as one class that is absent: all channels sum to 1.
    rest = (1 - given.sum(dim=0, keepdim=True)).clamp(min=0)
    probabilities = torch.cat([given[:-1], rest, given[-1:]])[None]
    labels = torch.ones(1, len(maps["classes"]) + 1)
    labels[:, -1] = 0
    names = [classes[number] for number in maps["classes"]]
    found = eps.estimated_saliency(
        probabilities,
        torch.from_numpy(saliency)[None, None] / 255,
        labels,
        options.overlap_threshold,
        options.foreground_weight,
        options.selection,
        [place for place, name in enumerate(names) if name in options.predefined_background],
    )
    return (255 * found[0, 0].clamp(0, 1)).round().to(torch.uint8).numpy()


def make_state(job: Job) -> Callable[[str], np.ndarray]:
    """From an id to its map."""
    settings, inputs = job.settings, job.inputs
    classes = read_index(inputs.index, settings.dataset).classes
    cams, detected = Reader(inputs.cams, "cam", settings.dataset), Reader(inputs.saliency, "saliency", settings.dataset)
    return lambda name: estimate(cams.read(name), detected.read(name)["saliency"], classes, settings.options)


def main(job: Job) -> None:
    index = read_index(job.inputs.index, job.settings.dataset)
    store(job, "saliency", index, job.settings.splits, make_state, lambda read, name: {"saliency": read(name)})


if __name__ == "__main__":
    run(main, inputs=("index", "cams", "saliency"), outputs=("saliency",))
