"""How well a classifier classifies: its scores on the evaluation split, as mean average precision."""

import json

import numpy as np
import torch

from workflow_scripts import methods
from workflow_scripts.base.progress import progress
from workflow_scripts.data.checkpoints.weights import load_weights
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.transforms import normalise
from workflow_scripts.evaluation.classification import average_precision, mean_average_precision
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import write
from workflow_scripts.training.device import device


@torch.inference_mode()
def main(job: Job) -> None:
    settings = job.settings
    torch.set_num_threads(1)
    index = read_index(job.inputs.index, settings.dataset)
    images = Images(index, job.inputs.images)
    network = methods.build(settings.classifier, index.classes)
    load_weights(network, job.inputs.weights)
    where = device()
    network.to(where).eval()
    rows = index.rows(settings.split)
    scores = np.empty(
        (len(rows), len(index.classes)), np.float32
    )  # at once: small arrays between large ones hold memory
    for number, row in enumerate(progress(rows, len(rows), "classification")):
        image = normalise(images.read(index.ids[row]))[None].to(where)
        scores[number] = network.class_logits(image)[0].float().cpu().numpy()
    precision = average_precision(scores, index.labels[rows])
    result = {
        "split": settings.split,
        "images": len(rows),
        "mean_average_precision": _or_none(mean_average_precision(precision)),
        "average_precision": dict(zip(index.classes, map(_or_none, precision), strict=True)),
    }
    write(job.outputs.scores, json.dumps(result, indent=1) + "\n")


def _or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "weights"), outputs=("scores",))
