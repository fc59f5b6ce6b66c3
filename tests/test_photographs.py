"""The first photographs of the data beside the project, where there are any, through the first stages."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import SOURCES, copy_sources, run

from workflow_scripts.data.index import read_index
from workflow_scripts.evaluation.saliency import foreground_iou
from workflow_scripts.store.artifacts import Reader

DATA = SOURCES.parent / "shared" / "data"
LIMIT = 6
CHANGES = {
    "datasets": {
        "voc_animals": {
            "limit": LIMIT,
            "splits": {"without_train": {"of": "train_aug", "without": None}, "thresholds": {"first": 2}},
            "seeds": [0],
            "overrides": {"classifiers": {"base_cnn": {"recipe": {"iterations": 2, "batch": 2, "save_every": 1}}}},
        }
    }
}
TARGETS = ("truth.h5", "saliency/supplied.h5", "seed-0/classifiers/eps.safetensors")

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no photographs beside the project")


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Results of the first photographs; the configuration finds its data beside the folder, as in the project."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "shared").mkdir()
    (folder / "shared" / "data").symlink_to(DATA)
    tree = copy_sources(folder / "project")
    (tree / "few.yaml").write_text(yaml.safe_dump(CHANGES))
    targets = [f"results/voc_animals/{target}" for target in TARGETS]
    done = run(tree, *targets, configfiles=["config.yaml", "configs/voc_animals.yaml", "few.yaml"])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    yield tree / "results" / "voc_animals"
    shutil.rmtree(folder)


def test_the_index_holds_the_first_photographs(results):
    index = read_index(results / "index.h5", "voc_animals")
    assert index.classes == ("cat", "cow", "dog", "horse", "person", "sheep")
    root = DATA / "voc-animals/VOCdevkit/VOC2012/ImageSets/Segmentation"
    for split in ("train_aug", "train", "val"):
        assert index.split(split) == (root / f"{split}.txt").read_text().split()[:LIMIT]
    assert (index.labels.sum(axis=1) >= 1).all() and index.sizes.max() == 400
    for identifier in index.ids:
        height, width = index.size_of(identifier)
        boxes = index.boxes_of(identifier)
        assert set(boxes[:, 4].astype(int)) == set(index.classes_of(identifier).tolist())
        assert (boxes[:, :2] < boxes[:, 2:4]).all() and (boxes[:, 2:4] <= [width, height]).all()


def test_the_truth_holds_the_labelled_classes(results):
    index, truth = read_index(results / "index.h5"), Reader(results / "truth.h5", "truth", "voc_animals")
    for identifier in truth.ids:
        label = truth.read(identifier)["label"]
        assert label.shape == index.size_of(identifier)
        assert set(np.unique(label)) - {0, 255} == set((index.classes_of(identifier) + 1).tolist())


def test_saliency_fits_its_photographs(results):
    index, truth = read_index(results / "index.h5"), Reader(results / "truth.h5", "truth", "voc_animals")
    maps = Reader(results / "saliency/supplied.h5", "saliency", "voc_animals")
    assert maps.ids == sorted(index.ids)
    overlaps = [foreground_iou(maps.read(name)["saliency"], truth.read(name)["label"]) for name in truth.ids]
    assert np.mean(overlaps) > 0.4  # 0.72 on average over all photographs


def test_a_classifier_trains_from_the_weights_beside_them(results):
    with open(results / "seed-0/classifiers/eps.curve.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["iteration"] == "2" and 0.1 < float(row["classification"]) < 5 and 0 < float(row["saliency"]) < 1
    assert (results / "seed-0/classifiers/eps.safetensors").stat().st_size > 8e6


def test_no_photograph_is_in_the_project():
    pictures = [
        path
        for path in SOURCES.rglob("*")
        if path.suffix.lower() in {".jpg", ".jpeg"} and not {".venv", ".git"} & {*path.relative_to(SOURCES).parts}
    ]
    assert not pictures
