"""A user's own files, in the layout of PASCAL VOC: contents decide what is stale, not dates."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL, copy_sources, copy_tree, dry_run, python, run
from demo_graph import named
from PIL import Image

from workflow_scripts.config.layers import merge, read_settings

PHOTOGRAPHS = {
    "train_aug": ["a1", "a2", "a3", "a4"],
    "train": ["a1", "a2"],
    "val": ["b1", "b2"],
}
TARGETS = ("results/photographs/miou.csv", "results/photographs/pictures/done.txt")
CONFIGFILES = (*SMALL, "photographs.yaml")
ALL = {
    *(
        "index",
        "truth",
        "saliency supplied",
        "train_classifier eps",
        "classification eps",
        "cams eps",
        "thresholds eps",
    ),
    *("masks eps", "masks truth", "score_saliency supplied", "score_cams eps", "score_masks eps", "score_masks truth"),
    *("montage eps_masks", "montage truth_masks", "charts", "curves", "miou", "pictures"),
}


def draw_devkit(root: Path) -> None:
    """Six noisy pictures of one rectangle each, with boxes, masks and saliency maps."""
    rng = np.random.default_rng(0)
    for folder in ("JPEGImages", "Annotations", "SegmentationClassAug", "Saliency", "Lists"):
        (root / folder).mkdir(parents=True)
    for split, ids in PHOTOGRAPHS.items():
        (root / "Lists" / f"{split}.txt").write_text("".join(f"{identifier}\n" for identifier in ids))
    for number, identifier in enumerate(["a1", "a2", "a3", "a4", "b1", "b2"]):
        name, value = [("cat", 8), ("dog", 12)][number % 2]
        pixels = rng.integers(0, 100, (96, 128, 3), dtype=np.uint8)
        pixels[20:70, 30:90, number % 2] += 120
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{identifier}.jpg")
        inside = np.zeros((96, 128), np.uint8)
        inside[20:70, 30:90] = 1
        Image.fromarray(inside * value).save(root / "SegmentationClassAug" / f"{identifier}.png")
        Image.fromarray(inside * 200).save(root / "Saliency" / f"{identifier}.png")
        box = "<xmin>31</xmin><ymin>21</ymin><xmax>90</xmax><ymax>70</ymax>"
        (root / "Annotations" / f"{identifier}.xml").write_text(
            f"<annotation><object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>"
        )


@pytest.fixture(scope="module")
def finished_photographs(tmp_path_factory) -> Path:
    folder = copy_sources(tmp_path_factory.mktemp("photographs") / "tree")
    draw_devkit(folder / "data" / "devkit")
    overrides = read_settings([folder / name for name in SMALL])["datasets"]["demo"]["overrides"]
    supplied = {"rendered": None, "supplied": {"path": "data/devkit/Saliency"}}
    overrides = merge(overrides, {"saliency": supplied, "classifiers": {"eps": {"saliency": "supplied"}}})
    dataset = {
        "kind": "voc",
        "root": "data/devkit",
        "images": "JPEGImages",
        "annotations": "Annotations",
        "masks": "SegmentationClassAug",
        "classes": ["cat", "dog"],
        "splits": {name: {"ids": f"Lists/{name}.txt"} for name in PHOTOGRAPHS}
        | {"thresholds": {"of": "train_aug", "without": "train"}},
        "use": {"train": "train_aug", "masks": "train", "thresholds": "thresholds", "evaluation": ["val"]},
        "systems": ["eps_masks", "truth_masks"],
        "seeds": [0],
        "torch_threads": 1,
        "workers": 1,
        "gpus": 0,
        "threshold": 0.2,
        "montage": 2,
        "overrides": overrides,
    }
    systems = {"eps_masks": {"mask": "eps"}, "truth_masks": {"mask": "truth"}}
    settings = {"systems": systems, "datasets": {"photographs": dataset}}
    (folder / "photographs.yaml").write_text(json.dumps(settings))
    done = run(folder, *TARGETS, configfiles=CONFIGFILES)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


@pytest.fixture
def photographs(finished_photographs, tmp_path) -> Path:
    return copy_tree(finished_photographs, tmp_path / "clone")


def stale_photographs(folder: Path) -> set[str]:
    return named(dry_run(folder, *TARGETS, configfiles=CONFIGFILES))


def redraw(path: Path) -> None:
    """Another picture of the same size, in the same format."""
    with Image.open(path) as image:
        pixels = np.asarray(image).copy()
    pixels[:8, :8] = pixels[30:38, 40:48]
    Image.fromarray(pixels).save(path)


def test_touched_and_equal_files_of_the_user(photographs):
    for path in (photographs / "data").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes())
    Image.new("RGB", (50, 40)).save(photographs / "data" / "devkit" / "JPEGImages" / "in_no_list.jpg")
    assert stale_photographs(photographs) == set()


@pytest.mark.parametrize("identifier", ["a4", "b2"])
def test_a_replaced_photograph(photographs, identifier):
    redraw(photographs / "data" / "devkit" / "JPEGImages" / f"{identifier}.jpg")
    assert stale_photographs(photographs) == ALL


def test_an_edited_annotation_and_an_edited_list(photographs):
    annotation = photographs / "data" / "devkit" / "Annotations" / "a1.xml"
    before = annotation.read_text()
    annotation.write_text(before.replace("<xmin>31</xmin>", "<xmin>32</xmin>"))
    assert stale_photographs(photographs) == ALL
    annotation.write_text(before)
    assert stale_photographs(photographs) == set()
    (photographs / "data" / "devkit" / "Lists" / "val.txt").write_text("b2\nb1\n")
    assert stale_photographs(photographs) == ALL


@pytest.mark.parametrize("identifier", ["a2", "a3", "b1"])
def test_a_corrected_truth_mask_retrains_nothing(photographs, identifier):
    redraw(photographs / "data" / "devkit" / "SegmentationClassAug" / f"{identifier}.png")
    assert stale_photographs(photographs) == {
        *("truth", "thresholds eps", "masks truth", "score_saliency supplied", "score_cams eps", "score_masks eps"),
        *("score_masks truth", "montage eps_masks", "montage truth_masks", "charts", "curves", "miou", "pictures"),
    }


def test_a_changed_saliency_map(photographs):
    redraw(photographs / "data" / "devkit" / "Saliency" / "a3.png")
    assert stale_photographs(photographs) == ALL - {
        *("index", "truth", "masks truth", "score_masks truth", "montage truth_masks")
    }


def test_verify_notices_a_replaced_photograph(photographs):
    shutil.rmtree(photographs / ".snakemake")
    arguments = ["-m", "workflow_scripts", "verify", "results/photographs", "--configfile", *CONFIGFILES]
    assert python(photographs, *arguments).stdout == "results/photographs: up to date\n"
    redraw(photographs / "data" / "devkit" / "JPEGImages" / "a1.jpg")
    done = python(photographs, *arguments)
    assert done.returncode == 1
    assert "stale      results/photographs/index.h5: settings changed: files of datasets.photographs\n" in done.stdout
