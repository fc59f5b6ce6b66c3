"""Choose the constant background score of a cam on a held-out split, from its cached maps."""

import json

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.progress import progress
from workflow_scripts.data.index import read_index
from workflow_scripts.data.maps import constant_background, to_label, upsampled
from workflow_scripts.evaluation.miou import confusion_matrix, mean_intersection_over_union
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, write

# The field's sweep: 0 to 0.59 in steps of 0.01 (SEAM, MCTformer).
THRESHOLDS = [round(0.01 * step, 2) for step in range(60)]


def main(job: Job) -> None:
    settings = job.settings
    if settings.split is None:
        raise UserError(
            f"config: datasets.{settings.dataset}.use.thresholds is empty; name a split to choose thresholds on"
        )
    index = read_index(job.inputs.index, settings.dataset)
    cams, truth = Reader(job.inputs.cams, "cam", settings.dataset), Reader(job.inputs.truth, "truth", settings.dataset)
    labels = len(index.classes) + 1
    confusion = np.zeros((len(THRESHOLDS), labels, labels), np.int64)
    ids = index.split(settings.split)
    for identifier in progress(ids, len(ids), "thresholds"):
        maps, target = cams.read(identifier), truth.read(identifier)["label"]
        scores = constant_background(upsampled(maps["scores"], *target.shape), 0.0)
        for row, threshold in enumerate(THRESHOLDS):
            scores[0] = threshold
            confusion[row] += confusion_matrix(to_label(scores, maps["classes"]), target, labels)
    mious = [mean_intersection_over_union(matrix) for matrix in confusion]
    result = {
        "split": settings.split,
        "images": len(ids),
        "threshold": THRESHOLDS[int(np.argmax(mious))],
        "miou": dict(zip(map(str, THRESHOLDS), mious, strict=True)),
    }
    write(job.outputs.thresholds, json.dumps(result, indent=1) + "\n")
    print(f"threshold {result['threshold']} of {settings.split}: mIoU {100 * max(mious):.2f} %")


if __name__ == "__main__":
    run(main, inputs=("index", "truth", "cams"), outputs=("thresholds",))
