"""Labels for an affinity network: where the maps of a cam are sure, sharpened by a dense CRF."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.by_image import store
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.maps import normalised, upsampled
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader


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


def label_of(state: State, identifier: str) -> dict[str, np.ndarray]:
    """`label` of one image, a uint8 map: 0 sure background, class + 1 sure object, 255 unknown."""
    maps = state.cams.read(identifier)
    scores = normalised(upsampled(maps["scores"], *state.images.index.size_of(identifier)))
    image = state.images.read(identifier)
    training_label = plugin("refine", f"{state.network}_label").training_label
    return {"label": training_label(image, scores, maps["classes"], state.labels)}


def main(job: Job) -> None:
    index = read_index(job.inputs.index, job.settings.dataset)
    store(job, "affinity_labels", index, [job.settings.split], make_state, label_of, job.workers)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "cams"), outputs=("labels",))
