"""Score one artifact against the truth: a confusion matrix for each split, also by object size and number of labels.

Serves the rules `score_saliency`, `score_cams`, `score_masks` and `score_predictions`.
"""

import json
from pathlib import Path

import numpy as np

from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.index import read_index
from workflow_scripts.data.maps import label_map
from workflow_scripts.evaluation.groups import counts_by_size
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, write


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    artifact = Reader(job.inputs.artifact, settings.schema, settings.dataset)
    truth = Reader(job.inputs.truth, "truth", settings.dataset)
    result: dict = {"splits": {}}
    if settings.schema == "cam":
        chosen = (
            json.loads(Path(job.inputs.thresholds).read_text())["threshold"]
            if job.inputs.thresholds
            else settings.threshold
        )
        result["threshold"] = chosen
    for split in settings.splits:
        ids = index.split(split)
        pairs = (
            (artifact.read(identifier), truth.read(identifier)["label"])
            for identifier in progress(ids, len(ids), f"scores {split}")
        )
        if settings.schema == "saliency":
            result["splits"][split] = {"images": len(ids)} | _saliency(pairs)
        else:
            labels = ((label_map(arrays, target.shape, result.get("threshold")), target) for arrays, target in pairs)
            result["splits"][split] = {"images": len(ids)} | _segmentation(labels, len(index.classes) + 1)
    write(job.outputs.scores, json.dumps(result) + "\n")


def _segmentation(pairs, labels: int) -> dict:
    miou = plugin("evaluation", "miou")
    total = np.zeros((labels, labels + 1), np.int64)
    by_labels: dict[str, np.ndarray] = {}
    by_size: dict[str, np.ndarray] = {}
    for label, target in pairs:
        confusion = miou.confusion_matrix(label, target, labels, missed_column=True)
        total += confusion
        count = min(3, int((confusion[1:].sum(axis=1) > 0).sum()))
        name = {0: "none", 1: "1", 2: "2"}.get(count, "3 or more")
        by_labels[name] = by_labels.get(name, 0) + confusion
        for size, counts in counts_by_size(confusion).items():
            by_size[size] = by_size.get(size, 0) + counts
    return {
        "confusion": total.tolist(),
        "by_labels": {name: matrix.tolist() for name, matrix in sorted(by_labels.items())},
        "by_size": {name: counts.tolist() for name, counts in by_size.items()},
    }


def _saliency(pairs) -> dict:
    measure = plugin("evaluation", "saliency")
    overlaps, errors, adaptive = [], [], []

    def curves():
        for arrays, target in pairs:
            saliency = arrays["saliency"]
            overlaps.append(measure.foreground_iou(saliency, target))
            errors.append(measure.mean_absolute_error(saliency, target))
            adaptive.append(measure.adaptive_f_measure(saliency, target))
            yield measure.precision_recall(saliency, target)

    best = measure.max_f_measure(curves())
    return {
        "foreground_iou": float(np.nanmean(overlaps)),
        "mean_absolute_error": float(np.nanmean(errors)),
        "max_f_measure": best,
        "adaptive_f_measure": float(np.nanmean(adaptive)),
    }


if __name__ == "__main__":
    run(main, inputs=("index", "artifact", "truth", "thresholds"), outputs=("scores",))
