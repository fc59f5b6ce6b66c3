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
from workflow_scripts.parallel import ordered_map
from workflow_scripts.plugins import plugin
from workflow_scripts.progress import progress


@dataclass
class State:
    """What a worker holds: the truth to copy, or the maps and the rule for them."""

    images: Images
    truth: Reader | None = None
    cams: Reader | None = None
    rule: Callable | None = None
    crf: SimpleNamespace | None = None


def make_state(job: Job) -> State:
    settings, block, inputs = job.settings, job.settings.block, job.inputs
    index = read_index(inputs.index, settings.dataset)
    images = Images(index, inputs.images)
    if inputs.truth:
        return State(images, truth=Reader(inputs.truth, "truth", settings.dataset))
    if inputs.thresholds:
        block.threshold = json.loads(Path(inputs.thresholds).read_text())["threshold"]
    rule = plugin("refine", f"{block.rule}_mask").load(block, getattr(settings, "affinity", None), inputs.affinity)
    cams = Reader(inputs.cams, "cam", settings.dataset)
    return State(images, cams=cams, rule=rule, crf=getattr(block, "crf", None))


def mask_of(state: State, identifier: str) -> np.ndarray:
    """uint8 (H, W) label map of one image."""
    if state.truth:
        return state.truth.read(identifier)["label"]
    background = plugin("refine", "background")  # not for truth, which an edit of it leaves alone
    stored, size = state.cams.read(identifier), state.images.index.size_of(identifier)
    maps = background.Maps(
        classes=stored["classes"],
        scores=background.upsampled(stored["scores"], *size),
        background=background.upsampled(stored["background"][None], *size)[0] if "background" in stored else None,
        image=partial(state.images.read, identifier),
        source=f"{state.cams.path}: {identifier!r}",
    )
    probabilities, crf = state.rule(maps), state.crf
    if crf and len(probabilities) > 1:
        probabilities = plugin("refine", "dense_crf").dense_crf(
            maps.image(), probabilities, crf.bilateral, crf.gaussian, crf.iterations
        )
    return background.to_label(probabilities, maps.classes)


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    ids = index.split(*settings.splits)
    on_gpu = job.inputs.affinity and plugin("training", "device").device().type == "cuda"
    busy = getattr(settings.block, "crf", None) or job.inputs.affinity
    workers = job.workers if busy and not on_gpu else 1
    with create(
        job.outputs.masks, "mask", dataset=settings.dataset, split="+".join(settings.splits), classes=index.classes
    ) as artifact:
        labels = ordered_map(partial(make_state, job), mask_of, ids, workers)
        for identifier, label in progress(zip(ids, labels, strict=True), len(ids), "masks"):
            artifact.put(identifier, label=label)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "cams", "thresholds", "truth", "affinity"), outputs=("masks",))
