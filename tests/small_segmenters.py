"""Trained segmentation networks, small and of random weights, as a stage leaves them."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import torch

from workflow_scripts import segmentation
from workflow_scripts.data.checkpoints.weights import save_weights
from workflow_scripts.store.provenance import write_sidecar

CLASSES = ("cat", "dog", "horse")


def write_segmenter(path: Path, classes: Sequence[str] = CLASSES, **changes) -> Path:
    """Weights of a network on the backbone `tiny`, and their sidecar."""
    block = {
        "network": "large_fov",
        "backbone": {"name": "tiny"},
        "hidden": None,
        "dropout": 0,
        "score_kernel": 3,
        "dilation": 2,
        "align_corners": False,
    } | changes
    settings = json.dumps({"block": block, "classes": classes, "dataset": "demo"})
    torch.manual_seed(0)
    options = json.loads(settings, object_hook=lambda item: SimpleNamespace(**item)).block
    network = segmentation.build(options, len(classes) + 1)
    network.head.weight.data *= 30  # so that labels differ
    save_weights(network, path)
    write_sidecar(str(path), "train_segmenter", settings, "", {}, 0, [])
    return path
