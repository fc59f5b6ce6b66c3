"""Bring the saliency maps of all images into one artifact: from a folder of maps, or by the detector of the block."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.by_image import store
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.readers.images import read_saliency
from workflow_scripts.run.command import Job, run


@dataclass
class State:
    """What a worker holds: the sizes of the images, and the function from an id to its map."""

    images: Images
    read: Callable[[str], np.ndarray]


def make_state(job: Job) -> State:
    block, inputs = job.settings.block, job.inputs
    images = Images(read_index(inputs.index, job.settings.dataset), inputs.images)
    if block.detector == "folder":
        folder = Path(block.path)
        if not folder.is_dir():
            raise UserError(
                f"{folder}: no such folder of saliency maps; put {{id}}.png there or name another under saliency"
            )
        return State(images, lambda name: read_saliency(folder / f"{name}.png", images.index.oriented))
    module = "network" if hasattr(block, "network") else block.detector
    weights = inputs.weights or getattr(block, "weights", None)
    detect = plugin("detectors", module).load(block, weights)
    return State(images, partial(_detected, images, detect, getattr(block, "crf", None)))


def _detected(images: Images, detect: Callable, crf, identifier: str) -> np.ndarray:
    image = images.read(identifier)
    saliency = detect(image)
    if crf:
        foreground = saliency / 255
        both = np.stack([1 - foreground, foreground])
        posterior = plugin("refine", "dense_crf").dense_crf(image, both, crf.bilateral, crf.gaussian, crf.iterations)
        saliency = np.rint(255 * posterior[1]).astype(np.uint8)
    return saliency


def map_of(state: State, identifier: str) -> dict[str, np.ndarray] | str:
    """`saliency` of one image, uint8 (H, W), or the line that says what is wrong with it."""
    try:
        saliency = state.read(identifier)
    except UserError as error:
        return str(error)
    size = state.images.index.size_of(identifier)
    if saliency.shape != size:
        (height, width), (rows, columns) = size, saliency.shape
        turned = ", of the photograph turned by its EXIF orientation" if (rows, columns) == (width, height) else ""
        return f"saliency of {identifier!r}: map is {rows} x {columns}, its image {height} x {width} (H x W); make it again{turned}"
    return {"saliency": saliency}


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    on_gpu = hasattr(settings.block, "network") and plugin("training", "device").device().type == "cuda"
    if job.workers > 1 and settings.block.detector != "folder" and not hasattr(settings.block, "network"):
        # A model is downloaded once, before all workers ask for it.
        getattr(plugin("detectors", settings.block.detector), "fetch", lambda block: None)(settings.block)
    workers = 1 if on_gpu else job.workers
    store(job, "saliency", index, None, make_state, map_of, workers)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "weights"), outputs=("saliency",))
