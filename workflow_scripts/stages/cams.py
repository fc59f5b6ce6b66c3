"""Class activation maps, soft, labelled classes only: of a classifier, merged over scales and mirrored copies, or of a folder."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from workflow_scripts import methods
from workflow_scripts.base.plugins import plugin
from workflow_scripts.data import transforms
from workflow_scripts.data.by_image import store
from workflow_scripts.data.checkpoints.weights import load_weights
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.maps import stored_size
from workflow_scripts.run.command import Job, run
from workflow_scripts.training.device import autocast, device


@dataclass
class State:
    """What a worker holds: the network and the way to the images."""

    network: Any
    images: Images
    block: SimpleNamespace
    where: torch.device
    options: dict = field(default_factory=dict)  # of the network's maps


def make_state(job: Job) -> State:
    index = read_index(job.inputs.index, job.settings.dataset)
    network = methods.build(job.settings.classifier, index.classes)
    load_weights(network, job.inputs.weights)
    where = device()
    network.to(where, memory_format=torch.channels_last).eval()
    block = job.settings.block
    return State(network, Images(index, job.inputs.images), block, where, map_options(block))


def map_options(block: SimpleNamespace) -> dict:
    """What the network's `maps` is told beyond images and labels: how its attention refines them, or that they are roots."""
    asked = {name: getattr(block, name, None) for name in ("attention", "square_root")}
    return {name: value for name, value in asked.items() if value}


@torch.inference_mode()
def maps_of(state: State, identifier: str) -> dict[str, np.ndarray]:
    """`classes`, `scores` and, where learnt, `background` of one image, at the block's resolution."""
    block, image = state.block, state.images.read(identifier)
    height, width = image.shape[:2]
    classes = state.images.index.classes_of(identifier)
    shape = stored_size(height, width, block.resolution)
    if not len(classes) and not state.network.learns_background:
        return {"classes": classes, "scores": np.zeros((0, *shape), np.float16)}
    chosen = torch.from_numpy(classes).long()
    labels = torch.from_numpy(state.images.index.labels[state.images.index.row[identifier]]).float()[None]
    merged: Any = None
    passes = 0
    align_to = state.network.backbone.stride if block.align_corners else None
    for tensor, mirrored in transforms.multi_scale(image, block.scales, block.flip, align_to, block.side):
        with autocast(state.where, block.precision):
            scores, background = state.network.maps(
                tensor.to(state.where).contiguous(memory_format=torch.channels_last),
                labels.to(state.where),
                **state.options,
            )
        scores = scores[:, chosen.to(scores.device)]
        maps = scores if background is None else torch.cat([scores, background[:, None]], dim=1)
        maps = maps.float().flip(-1) if mirrored else maps.float()
        maps = transforms.resize_maps(maps, height, width, block.align_corners, block.upsampling).clamp(min=0)
        if block.merge == "max":
            maps = transforms.normalise_maps(maps).amax(dim=0, keepdim=True)
            merged = maps if merged is None else torch.maximum(merged, maps)
        else:
            passes += len(maps)
            maps = maps.sum(dim=0, keepdim=True)
            merged = maps if merged is None else merged + maps
    merged = merged / max(1, passes)
    if getattr(block, "normalise", None) == "min_max":
        low, high = merged.amin(dim=(2, 3), keepdim=True), merged.amax(dim=(2, 3), keepdim=True)
        merged = (merged - low) / (high - low + 1e-8)  # 1e-8 as in the published code
    stored = torch.nn.functional.interpolate(merged, size=shape, mode="area")
    stored = stored[0].cpu().numpy().astype(np.float16)
    arrays = {"classes": classes, "scores": stored[: len(classes)]}
    return arrays | ({"background": stored[-1]} if state.network.learns_background else {})


def main(job: Job) -> None:
    index = read_index(job.inputs.index, job.settings.dataset)
    if getattr(job.settings.block, "rule", None) == "folder":
        folder = plugin("data", "folder_maps").FolderMaps(job.settings.block, index)
        # In this process, which counts what is found: it mostly waits for the disk.
        store(job, "cam", index, job.settings.splits, lambda _: folder, type(folder).read)
        print(folder.told(index.split(*job.settings.splits)), flush=True)
        return
    workers = 1 if device().type == "cuda" else job.workers
    store(job, "cam", index, job.settings.splits, make_state, maps_of, workers)


if __name__ == "__main__":
    run(main, inputs=("index", "images", "weights"), outputs=("cams",))
