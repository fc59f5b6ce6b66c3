"""Pseudo masks by the rule of a block: constant or learnt background, random walk, a dense CRF after any, or the truth."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from workflow_scripts.artifacts import Reader, create
from workflow_scripts.command import Job, run
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.errors import UserError
from workflow_scripts.parallel import ordered_map
from workflow_scripts.plugins import plugin
from workflow_scripts.progress import progress


@dataclass
class State:
    """What a worker holds."""

    images: Images
    cams: Reader | None
    truth: Reader | None
    block: SimpleNamespace
    threshold: float | None
    walk: Callable[[np.ndarray, np.ndarray], np.ndarray] | None


def make_state(job: Job) -> State:
    settings, inputs = job.settings, job.inputs
    index = read_index(inputs.index, settings.dataset)
    threshold = getattr(settings.block, "threshold", None)
    if inputs.thresholds:
        threshold = json.loads(Path(inputs.thresholds).read_text())["threshold"]
    cams = Reader(inputs.cams, "cam", settings.dataset) if inputs.cams else None
    truth = Reader(inputs.truth, "truth", settings.dataset) if inputs.truth else None
    walk = None
    if inputs.affinity:
        walk = plugin("refine", f"{settings.block.rule}_mask").load(settings.affinity, inputs.affinity, settings.block)
    return State(Images(index, inputs.images), cams, truth, settings.block, threshold, walk)


def mask_of(state: State, identifier: str) -> np.ndarray:
    """uint8 (H, W) label map of one image."""
    if state.truth:
        return state.truth.read(identifier)["label"]
    background = plugin("refine", "background")
    maps = state.cams.read(identifier)
    size = state.images.index.size_of(identifier)
    scores = background.upsampled(maps["scores"], *size)
    if state.walk:
        probabilities = state.walk(state.images.read(identifier), scores)
    elif state.block.rule == "learnt":
        if "background" not in maps:
            raise UserError(
                f"{state.cams.path}: no learnt background of {identifier!r}; use rule 'constant' for this method"
            )
        probabilities = background.learnt_background(scores, background.upsampled(maps["background"][None], *size)[0])
    else:
        probabilities = background.constant_background(scores, state.threshold)
    crf = getattr(state.block, "crf", None)
    if crf and len(probabilities) > 1:
        image = state.images.read(identifier)
        probabilities = plugin("refine", "dense_crf").dense_crf(
            image, probabilities, crf.bilateral, crf.gaussian, crf.iterations
        )
    return background.to_label(probabilities, maps["classes"])


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    ids = index.split(*settings.splits)
    workers = job.workers if getattr(settings.block, "crf", None) or job.inputs.affinity else 1
    with create(
        job.outputs.masks, "mask", dataset=settings.dataset, split="+".join(settings.splits), classes=index.classes
    ) as artifact:
        labels = ordered_map(partial(make_state, job), mask_of, ids, workers)
        for identifier, label in progress(zip(ids, labels, strict=True), len(ids), "masks"):
            artifact.put(identifier, label=label)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "cams", "thresholds", "truth", "affinity"), outputs=("masks",))
