"""A training shared by two processes is that of one, up to rounding; what is shared, and what cannot be."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import refused
from torch import nn
from training_set import recipe

from workflow_scripts.data.samples.batches import BatchSampler
from workflow_scripts.training.processes import Group, _synchronise
from workflow_scripts.training.step import parts_of

# A stage whose curve has a row a step, of a network that neither drops nor normalises by its batches.
TRAIN = """
import sys
from pathlib import Path
import torch
from training_set import classifier, recipe, samples_of
from workflow_scripts import segmentation
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.segmentation_samples import SegmentationSamples
from workflow_scripts.training import loop
from workflow_scripts.training.device import deterministic
from training_set import classifier_block, namespace

data, folder, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
loop.REPORT_EVERY = 1
deterministic(0, 1, 1)
settings = {"accumulate": 2 if kind == "accumulated" else 1, "iterations": 6, "scales": [1]}
backbone = {"name": "tiny", "stride": 8, "batch_norm": "frozen", "frozen_stages": 0}
if kind == "classifier":
    network, samples = classifier("cam", batch_norm="frozen"), samples_of(data, **settings)
    network.dropout.p = 0.0
else:
    block = {"network": "large_fov", "backbone": backbone, "hidden": 8, "dilation": 2, "dropout": 0.0}
    network = segmentation.build(namespace(block | {"align_corners": False, "score_kernel": 1, "loss_at": "labels"}), 7)
    index = read_index(data / "index.h5")
    images = Images(index, data / "images.h5")
    samples = SegmentationSamples(index, images, "train", recipe(**settings), 0, data / "masks.h5")
loop.train(
    network, samples, recipe(**settings),
    seed=0, fingerprint="", output=str(folder / "a.safetensors"), curve=str(folder / "a.csv"), workers=2, save_every=2,
)
"""


def curve(folder: Path) -> list[list[float]]:
    with open(folder / "a.csv", newline="") as file:
        return [[float(value) for value in row] for row in list(csv.reader(file))[1:]]


@pytest.mark.parametrize("kind", ["classifier", "accumulated"])
def test_two_processes_have_the_loss_curve_of_one(rendered, tmp_path, kind):
    """A segmenter's labels of 255 are not as many in both halves of a batch, which the loss must not feel."""
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    for name, launcher in {"one": [], "two": together}.items():
        folder = tmp_path / name
        folder.mkdir()
        command = [sys.executable, *launcher, str(script), str(rendered), str(folder), kind]
        path = {"PYTHONPATH": os.pathsep.join([".", "tests"]), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, env=os.environ | path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        assert sorted(path.name for path in folder.iterdir()) == ["a.csv", "a.safetensors"]
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert len(one) == len(two) == 6 and one[0] != one[1]
    for expected, found in zip(one, two, strict=True):
        assert found == pytest.approx(expected, abs=1e-4)


def test_batches_are_shared_in_order():
    whole = list(BatchSampler(11, 6, 7, seed=3))
    parts = [list(BatchSampler(11, 6, 7, seed=3, part=(which, 3))) for which in range(3)]
    assert [sum(shares, []) for shares in zip(*parts, strict=True)] == whole
    assert {len(share) for part in parts for share in part} == {2}


def test_batches_that_cannot_be_shared():
    Group(1, 2).check(recipe(batch=8, accumulate=4))
    refused(lambda: Group(0, 3).check(recipe(batch=8, accumulate=1)), "batch 8", "3 processes", "accumulate 1", "gpus")
    refused(lambda: Group(0, 4).check(recipe(batch=8, accumulate=4)), "batch 8", "accumulate 4")


def test_parts_of_a_part_know_the_label_of_the_whole_batch():
    label = torch.arange(4)[:, None, None]
    parts = parts_of({"image": label[:2], "label": label[:2], "whole_label": label}, 2)
    assert [part["label"].flatten().tolist() for part in parts] == [[0], [1]]
    assert all(part["whole_label"] is label for part in parts)


def test_only_trained_batch_normalisation_is_synchronised():
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm2d(3))).train()
    network[0].eval()
    weight = network[1][0].weight
    _synchronise(network)
    assert type(network[0]) is nn.BatchNorm2d and type(network[1][0]) is nn.SyncBatchNorm
    assert network[1][0].weight is weight and network[1][0].training


def test_one_process_is_not_touched():
    network, batch = nn.BatchNorm2d(2), {"label": torch.zeros(1)}
    state = torch.get_rng_state()
    alone = Group()
    alone.prepare(network)
    alone.seed(0, 3)
    assert type(network) is nn.BatchNorm2d and alone.whole(batch) is batch and torch.equal(torch.get_rng_state(), state)
    alone.check(SimpleNamespace(batch=3, accumulate=3))
