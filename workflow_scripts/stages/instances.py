"""A mask for each box: from a label map that was made from boxes, or, as the reference, the true masks."""

from collections.abc import Callable

import numpy as np

from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.by_image import store
from workflow_scripts.data.index import read_index
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader


def make_state(job: Job) -> Callable[[str], dict[str, np.ndarray]]:
    """From an id to the arrays of its instances."""
    settings, inputs = job.settings, job.inputs
    if inputs.truth:
        return Reader(inputs.truth, "instances", settings.dataset).read
    index, masks = read_index(inputs.index, settings.dataset), Reader(inputs.masks, "mask", settings.dataset)
    boxed, objects_of = plugin("refine", "boxed_instances").boxed_instances, plugin("data", "boxes").objects_of

    def read(identifier: str) -> dict[str, np.ndarray]:
        label = masks.read(identifier)["label"]
        return boxed(label, objects_of(index, identifier), settings.block.overlap).arrays()

    return read


def main(job: Job) -> None:
    index = read_index(job.inputs.index, job.settings.dataset)
    store(job, "instances", index, job.settings.splits, make_state, lambda read, identifier: read(identifier))


if __name__ == "__main__":
    run(main, inputs=("index", "masks", "truth"), outputs=("instances",))
