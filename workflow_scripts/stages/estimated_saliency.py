"""The saliency maps that a classifier's class maps amount to, beside which a detector's can be seen (EPS, Fig. 3).

The class maps are the cached ones, the mean over test scales and mirrored copies; the detector's saliency decides
which of them are foreground, as in training.
"""

import numpy as np
import torch

from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.index import read_index
from workflow_scripts.data.maps import upsampled
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, create


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


def main(job: Job) -> None:
    settings, inputs = job.settings, job.inputs
    index = read_index(inputs.index, settings.dataset)
    cams = Reader(inputs.cams, "cam", settings.dataset)
    detected = Reader(inputs.saliency, "saliency", settings.dataset)
    ids = index.split(*settings.splits)
    with create(
        job.outputs.saliency,
        "saliency",
        dataset=settings.dataset,
        split="+".join(settings.splits),
        classes=index.classes,
    ) as artifact:
        for identifier in progress(ids, len(ids), "estimated saliency"):
            saliency = detected.read(identifier)["saliency"]
            artifact.put(
                identifier, saliency=estimate(cams.read(identifier), saliency, index.classes, settings.options)
            )


if __name__ == "__main__":
    run(main, inputs=("index", "cams", "saliency"), outputs=("saliency",))
