"""Find instances in the images of the evaluation splits by a trained network."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from workflow_scripts.data.by_image import store
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.instance_segmentation.inference import detections, load
from workflow_scripts.run.command import Job, run
from workflow_scripts.training.device import device


@dataclass
class State:
    """What a worker holds."""

    images: Images
    network: Any
    finding: Any


def make_state(job: Job) -> State:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    network = load(settings.block, len(index.classes) + 1, job.inputs.weights)
    return State(Images(index, job.inputs.images), network, settings.block.finding)


def found(state: State, identifier: str) -> dict[str, np.ndarray]:
    """The arrays of one image."""
    return detections(state.network, state.images.read(identifier), state.finding).arrays()


def main(job: Job) -> None:
    index = read_index(job.inputs.index, job.settings.dataset)
    workers = 1 if device().type == "cuda" else job.workers
    store(job, "instances", index, job.settings.splits, make_state, found, workers)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "weights"), outputs=("detections",))
