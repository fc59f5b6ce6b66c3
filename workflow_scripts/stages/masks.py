"""Pseudo masks by the rule of a block, a dense CRF after it where the block has one; or from other masks, a folder, or the truth."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.by_image import store
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader


@dataclass
class State:
    """What a worker holds: label maps to copy or choose from, or what the rule starts from."""

    images: Images
    truth: Reader | None = None
    masks: Reader | None = None
    true_ids: frozenset[str] = frozenset()
    chosen: str | None = None
    cams: Reader | None = None
    rule: Any = None
    crf: SimpleNamespace | None = None
    saliency: Any = None
    folder: Any = None


def make_state(job: Job) -> State:
    settings, block, inputs = job.settings, job.settings.block, job.inputs
    index = read_index(inputs.index, settings.dataset)
    images = Images(index, inputs.images)
    truth = Reader(inputs.truth, "truth", settings.dataset) if inputs.truth else None
    if block.rule == "folder":
        return _folder_state(job, images)
    if inputs.masks:
        masks = Reader(inputs.masks, "mask", settings.dataset)
        true_ids = frozenset(index.split(block.split)) if truth else frozenset()
        return State(images, truth=truth, masks=masks, true_ids=true_ids, chosen=getattr(block, "label", None))
    if truth:
        return State(images, truth=truth)
    if inputs.thresholds:
        block.threshold = json.loads(Path(inputs.thresholds).read_text())["threshold"]
    network = next((getattr(settings, name) for name in ("affinity", "classifier") if hasattr(settings, name)), None)
    weights = inputs.affinity or inputs.classifier
    rule = plugin("refine", f"{block.rule}_mask").load(block, network, weights)
    cams = Reader(inputs.cams, "cam", settings.dataset) if inputs.cams else None
    saliency = Reader(inputs.saliency, "saliency", settings.dataset) if inputs.saliency else None
    return State(images, cams=cams, rule=rule, crf=getattr(block, "crf", None), saliency=saliency)


def _folder_state(job: Job, images: Images) -> State:
    """The masks of a folder, names checked, and those of the images that have none there."""
    block, index = job.settings.block, images.index
    folder = plugin("data.readers", "mask_folder").open_masks(block.path, index)
    ids = index.split(*job.settings.splits)
    masks = Reader(job.inputs.masks, "mask", job.settings.dataset) if job.inputs.masks else None
    folder.check_names(index.ids, () if masks else ids)
    used = sum(identifier in folder for identifier in ids)
    print(f"{block.path}: {used} of {len(ids)} masks, {len(folder) - used} of other images not used", flush=True)
    return State(images, masks=masks, folder=folder)


def masks_of(state: State, identifier: str) -> dict[str, np.ndarray] | str:
    """Arrays of one image, among them `label`, uint8 (H, W); or the line that says what is wrong with a mask of a folder."""
    if state.folder and identifier in state.folder:
        try:
            label = state.folder.read(identifier, state.images.index.size_of(identifier), state.images.index.oriented)
        except UserError as error:
            return str(error)
        return {name: label for name in (state.masks.read(identifier) if state.masks else ("label",))}
    if state.masks and identifier not in state.true_ids:
        return _chosen(state.masks.read(identifier), state.chosen)
    if state.truth:
        label = state.truth.read(identifier)["label"]
        names = state.masks.read(identifier) if state.masks else ("label",)
        return {name: label for name in names}
    maps = _maps_of(state, identifier)
    probabilities, crf = state.rule.probabilities(maps), state.crf
    if crf and len(probabilities) > 1:
        probabilities = plugin("refine", "dense_crf").dense_crf(
            maps.image(), probabilities, crf.bilateral, crf.gaussian, crf.iterations
        )
    return state.rule.labels(maps, probabilities)


def _chosen(arrays: dict[str, np.ndarray], label: str | None) -> dict[str, np.ndarray]:
    """All arrays, or of two label maps the second, or both where they agree and 255 elsewhere, as `label`."""
    if label is None:
        return arrays
    first, second = arrays["label"], arrays["label_retrieved"]
    return {"label": second if label == "label_retrieved" else np.where(first == second, first, np.uint8(255))}


def _maps_of(state: State, identifier: str):
    """What a rule is given: maps of an image's labels at its size, its boxes, or its labels and saliency alone."""
    # Not at the top: an edit of these leaves masks alone that are only copied.
    background, upsampled = plugin("refine", "background"), plugin("data", "maps").upsampled
    index, image = state.images.index, partial(state.images.read, identifier)
    saliency = partial(_saliency_of, state, identifier)
    if state.cams is None:
        source, classes = f"{index.path}: {identifier!r}", index.classes_of(identifier)
        if state.saliency:  # starts from labels
            return background.Maps(classes, None, None, image, source, saliency)
        boxes = plugin("data", "boxes").boxes_of(index, identifier)
        return background.Maps(classes, None, None, image, source, boxes=boxes)
    stored, size = state.cams.read(identifier), index.size_of(identifier)
    return background.Maps(
        classes=stored["classes"],
        scores=upsampled(stored["scores"], *size),
        background=upsampled(stored["background"][None], *size)[0] if "background" in stored else None,
        image=image,
        source=f"{state.cams.path}: {identifier!r}",
        saliency=saliency,
    )


def _saliency_of(state: State, identifier: str) -> np.ndarray:
    """float32 (H, W) in [0, 1]."""
    return state.saliency.read(identifier)["saliency"].astype(np.float32) / 255


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    network = job.inputs.affinity or job.inputs.classifier
    on_gpu = network and plugin("training", "device").device().type == "cuda"
    others = (job.inputs.cams, job.inputs.masks, job.inputs.truth, job.inputs.saliency)
    from_boxes = settings.block.rule != "folder" and not any(others)
    busy = network or getattr(settings.block, "crf", None) or from_boxes
    workers = job.workers if busy and not on_gpu else 1
    store(job, "mask", index, settings.splits, make_state, masks_of, workers)


if __name__ == "__main__":
    names = ("index", "images", "cams", "thresholds", "truth", "saliency", "affinity", "classifier", "masks")
    run(main, inputs=names, outputs=("masks",))
