"""Predict the evaluation splits: soft scores of a segmentation network, or labels of a dense CRF on soft scores."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.by_image import store
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader


@dataclass
class State:
    """What a worker holds: a network, or soft predictions to refine."""

    images: Images
    block: SimpleNamespace
    soft: Reader | None = None
    network: Any = None


def make_state(job: Job) -> State:
    settings, inputs = job.settings, job.inputs
    index = read_index(inputs.index, settings.dataset)
    images = Images(index, inputs.images)
    if inputs.soft:
        return State(images, settings.block, soft=Reader(inputs.soft, "prediction", settings.dataset))
    network = plugin("segmentation", "inference").load(settings.segmenter, len(index.classes) + 1, inputs.weights)
    return State(images, settings.block, network=network)


def predict(state: State, identifier: str) -> dict[str, np.ndarray]:
    """`scores` (L, h, w) of the network, or `label` (H, W) of the CRF."""
    image = state.images.read(identifier)
    if state.soft is None:
        return {"scores": plugin("segmentation", "inference").soft_prediction(state.network, image, state.block)}
    scores = plugin("data", "maps").upsampled(state.soft.read(identifier)["scores"], *image.shape[:2])
    crf = state.block.crf
    posterior = plugin("refine", "dense_crf").dense_crf(image, scores, crf.bilateral, crf.gaussian, crf.iterations)
    return {"label": posterior.argmax(axis=0).astype(np.uint8)}


def main(job: Job) -> None:
    index = read_index(job.inputs.index, job.settings.dataset)
    on_gpu = job.inputs.weights and plugin("training", "device").device().type == "cuda"
    workers = 1 if on_gpu else job.workers
    store(job, "prediction", index, job.settings.splits, make_state, predict, workers)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "weights", "soft"), outputs=("predictions",))
