"""Labels for an affinity network: where the maps of a cam are sure, sharpened by a dense CRF."""

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np

from workflow_scripts.artifacts import Reader, create
from workflow_scripts.command import Job, run
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.parallel import ordered_map
from workflow_scripts.plugins import plugin
from workflow_scripts.progress import progress
from workflow_scripts.refine.background import normalised, upsampled


@dataclass
class State:
    """What a worker holds."""

    images: Images
    cams: Reader
    network: str
    labels: SimpleNamespace


def make_state(job: Job) -> State:
    index = read_index(job.inputs.index, job.settings.dataset)
    cams = Reader(job.inputs.cams, "cam", job.settings.dataset)
    return State(Images(index, job.inputs.images), cams, job.settings.network, job.settings.labels)


def label_of(state: State, identifier: str) -> np.ndarray:
    """uint8 label map of one image: 0 sure background, class + 1 sure object, 255 unknown."""
    maps = state.cams.read(identifier)
    scores = normalised(upsampled(maps["scores"], *state.images.index.size_of(identifier)))
    image = state.images.read(identifier)
    return plugin("refine", f"{state.network}_label").training_label(image, scores, maps["classes"], state.labels)


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    ids = index.split(settings.split)
    with create(
        job.outputs.labels, "affinity_labels", dataset=settings.dataset, split=settings.split, classes=index.classes
    ) as artifact:
        labels = ordered_map(partial(make_state, job), label_of, ids, job.workers)
        for identifier, label in progress(zip(ids, labels, strict=True), len(ids), "affinity labels"):
            artifact.put(identifier, label=label)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "cams"), outputs=("labels",))
