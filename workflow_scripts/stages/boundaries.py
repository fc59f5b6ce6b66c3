"""Match the boundaries of masks with the true ones: counts for every tolerance, of one mask."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.base.progress import progress
from workflow_scripts.data.index import read_index
from workflow_scripts.evaluation.boundary import VOID, boundary_scores, contours
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, write


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    masks = Reader(job.inputs.masks, "mask", settings.dataset)
    true_contours = _truth(job)
    totals = np.zeros((len(settings.tolerances), 4), np.int64)
    scored, ids = 0, index.split(settings.split)
    for identifier in progress(ids, len(ids), f"boundaries {settings.split}"):
        truth = true_contours(identifier)
        if truth is None:
            continue
        label = masks.read(identifier)["label"]
        if label.shape != truth.shape:
            raise UserError(
                f"boundaries of {identifier!r}: {truth.shape}, its mask {label.shape} (H x W); restore them"
            )
        edges = contours(np.where(label == VOID, 0, label))
        totals += [boundary_scores(edges, truth, tolerance) for tolerance in settings.tolerances]
        scored += 1
    names = ("matched_predicted", "predicted", "matched_true", "true")
    result = {
        "split": settings.split,
        "images": scored,
        "left_out": len(ids) - scored,  # without boundaries in SBD
        "tolerances": {
            f"{tolerance:g}": dict(zip(names, counts.tolist(), strict=True))
            for tolerance, counts in zip(settings.tolerances, totals, strict=True)
        },
    }
    write(job.outputs.scores, json.dumps(result) + "\n")


def _truth(job: Job) -> Callable[[str], np.ndarray | None]:
    """True boundaries by id: those of SBD, where the data set has them, else of the true label maps."""
    if job.settings.sbd is None:
        truth = Reader(job.inputs.truth, "truth", job.settings.dataset)
        return lambda identifier: contours(truth.read(identifier)["label"])
    folder, read = Path(job.settings.sbd) / "cls", plugin("data.readers", "sbd").read_contours

    def of_sbd(identifier: str) -> np.ndarray | None:
        path = folder / f"{identifier}.mat"
        return read(path) if path.exists() else None

    return of_sbd


if __name__ == "__main__":
    run(main, inputs=("index", "masks", "truth"), outputs=("scores",))
