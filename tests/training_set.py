"""A training set of ten rendered images, with a recipe, classifiers and samples for it."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from workflow_scripts import methods
from workflow_scripts.data.index import Images, read_index, write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.data.samples.classification_samples import ClassificationSamples
from workflow_scripts.data.synthetic.synthetic import CLASSES, render_scene
from workflow_scripts.store.artifacts import create

JITTER = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1}
RECIPE = {
    "iterations": 8,
    "batch": 4,
    "accumulate": 1,
    "crop": 48,
    "long_side": [40, 64],
    "jitter": JITTER,
    "optimiser": "sgd",
    "learning_rate": 0.01,
    "head_multiplier": 10,
    "bias_multiplier": 2,
    "momentum": 0.9,
    "weight_decay": 5.0e-4,
    "poly_power": 0.9,
    "poly_every": 1,
    "drop_at": (),
    "drop_factor": None,
    "cosine": None,
    "warm_up": 0,
    "precision": "float32",
    "compile": False,
    "augment": "worker",
}
EPS_OPTIONS = {
    "selection": "adaptive",
    "overlap_threshold": 0.4,
    "foreground_weight": 0.5,
    "saliency_weight": 1.0,
    "predefined_background": [],
}


def namespace(value):
    return json.loads(json.dumps(value), object_hook=lambda item: SimpleNamespace(**item))


def recipe(**changes) -> SimpleNamespace:
    return namespace(RECIPE | changes)


def classifier_block(method: str = "cam", **backbone) -> dict:
    options = {"dropout": 0.5} if method == "cam" else EPS_OPTIONS
    default = {"name": "tiny", "stride": 8, "batch_norm": "trained", "frozen_stages": 0}
    return {"method": method, "options": options, "backbone": default | backbone, "initial": "random"}


def classifier(method: str = "cam", **backbone) -> nn.Module:
    torch.manual_seed(0)
    return methods.build(namespace(classifier_block(method, **backbone)), CLASSES)


def write_training_set(folder: Path) -> None:
    """Rendered images, their index, and their masks and saliency as a perfect detector would have it."""
    about = {"dataset": "demo", "split": "all", "classes": CLASSES}
    entries = []
    with (
        create(folder / "images.h5", "images", **about) as images,
        create(folder / "saliency.h5", "saliency", **about) as saliency,
        create(folder / "masks.h5", "mask", **about) as masks,
    ):
        for number in range(10):
            scene, identifier = render_scene(0, "train", number), f"train_{number:06d}"
            images.put(identifier, image=scene.image)
            saliency.put(identifier, saliency=np.where(np.isin(scene.mask, [0, 255]), 0, 255).astype(np.uint8))
            masks.put(identifier, label=scene.mask)
            entries.append(Entry(identifier, "", *scene.mask.shape, "", scene.labels, scene.boxes.reshape(-1, 5)))
    write_index(folder / "index.h5", "demo", CLASSES, entries, {"train": [entry.id for entry in entries]})


def samples_of(data: Path, saliency: bool = False, seed: int = 0, **changes) -> ClassificationSamples:
    index = read_index(data / "index.h5")
    images = Images(index, data / "images.h5")
    return ClassificationSamples(index, images, "train", recipe(**changes), seed, saliency and data / "saliency.h5")


def batch_of(samples: Dataset, *positions: int, epoch: int = 0) -> dict[str, torch.Tensor]:
    return torch.utils.data.default_collate([samples[epoch, position] for position in positions])
