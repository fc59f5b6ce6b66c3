"""Pseudo masks by the rule of a block, a dense CRF after it where the block has one, or the truth."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
    rule: Any = None
    crf: SimpleNamespace | None = None
    saliency: Reader | None = None


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
    saliency = Reader(inputs.saliency, "saliency", settings.dataset) if inputs.saliency else None
    return State(images, cams=cams, rule=rule, crf=getattr(block, "crf", None), saliency=saliency)


def masks_of(state: State, identifier: str) -> dict[str, np.ndarray]:
    """Arrays of one image, among them `label`, uint8 (H, W)."""
    if state.truth:
        return {"label": state.truth.read(identifier)["label"]}
    background = plugin("refine", "background")  # not for truth, which an edit of it leaves alone
    stored, size = state.cams.read(identifier), state.images.index.size_of(identifier)
    maps = background.Maps(
        classes=stored["classes"],
        scores=background.upsampled(stored["scores"], *size),
        background=background.upsampled(stored["background"][None], *size)[0] if "background" in stored else None,
        image=partial(state.images.read, identifier),
        source=f"{state.cams.path}: {identifier!r}",
        saliency=lambda: state.saliency.read(identifier)["saliency"].astype(np.float32) / 255,
    )
    probabilities, crf = state.rule.probabilities(maps), state.crf
    if crf and len(probabilities) > 1:
        probabilities = plugin("refine", "dense_crf").dense_crf(
            maps.image(), probabilities, crf.bilateral, crf.gaussian, crf.iterations
        )
    return state.rule.labels(maps, probabilities)


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
        results = ordered_map(partial(make_state, job), masks_of, ids, workers)
        for identifier, arrays in progress(zip(ids, results, strict=True), len(ids), "masks"):
            artifact.put(identifier, **arrays)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "cams", "thresholds", "truth", "saliency", "affinity"), outputs=("masks",))
