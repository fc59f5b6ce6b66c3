"""`verify --deep`: what is wrong in an artifact whose sidecar says that its bytes are right."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from small_archives import write_tar
from training_set import classifier_block

from workflow_scripts.commands.contents import MOST_FAULTS, faults, network
from workflow_scripts.data.index import Index, read_index, write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.store.artifacts import create

CLASSES = ("cat", "dog")
IDS = ("a", "b", "c")
HEIGHT, WIDTH = 20, 30
SETTINGS = {"dataset": "demo", "block": {"resolution": 4}, "classes": CLASSES}


@pytest.fixture
def index(tmp_path) -> Index:
    box = np.array([[1, 2, 9, 12, 0]], np.float32)
    entries = [Entry(name, "", HEIGHT, WIDTH, "", (0, 1), box) for name in IDS]
    write_index(tmp_path / "index.h5", "demo", CLASSES, entries, {"train": IDS, "val": ["c"]})
    return read_index(tmp_path / "index.h5")


def label() -> np.ndarray:
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[2:9, 3:12], label[9:12], label[15:] = 1, 2, 255
    return label


def scores(count: int) -> np.ndarray:
    values = np.random.default_rng(0).random((count, 5, 8))
    return (values / values.sum(axis=0)).astype(np.float16)


SOUND: dict[str, tuple[str, str, dict]] = {  # stage, schema, arrays of an image
    "saliency": ("saliency", "saliency", {"saliency": label()}),
    "cam": ("cams", "cam", {"classes": np.array([0, 1], np.int16), "scores": scores(2) * 3, "background": scores(2)[0]}),
    "labels": ("affinity_labels", "affinity_labels", {"label": label()[::4, ::4].copy()}),
    "mask": ("masks", "mask", {"label": label(), "label_retrieved": label()}),
    "truth": ("truth", "truth", {"label": label(), "instance": label() & 1}),
    "soft": ("predictions", "prediction", {"scores": scores(3)}),
    "hard": ("predictions", "prediction", {"label": label()}),
    "instances": ("instances", "instances", {
        "boxes": np.array([[1, 2, 9, 12, 0], [0, 0, 5, 5, 1]], np.float32), "scores": np.array([0.5, 1], np.float32),
        "windows": np.array([[2, 12, 1, 9], [0, 5, 0, 5]], np.int32), "pixels": np.ones(105, np.uint8),
    }),
}  # fmt: skip


def changed(kind: str, **arrays) -> tuple[str, dict]:
    return kind, {name: value for name, value in (SOUND[kind][2] | arrays).items() if value is not None}


def at(array: np.ndarray, place: int, value) -> np.ndarray:
    array = array.copy()
    array.ravel()[place] = value
    return array


WRONG = {
    "another size": (changed("saliency", saliency=label()[1:]), "'saliency' is 19 x 30, expected 20 x 30"),
    "another type": (changed("saliency", saliency=label().astype(np.float32)), "'saliency' is float32, expected uint8"),
    "missing": (changed("truth", label=None), "has no 'label'"),
    "too many": (changed("saliency", more=label()), "holds 'more', which nobody reads"),
    "a label of no class": (changed("mask", label=at(label(), 7, 3)), "'label' has the value 3, which is none of 2 classes"),
    "in the second map": (changed("mask", label_retrieved=at(label(), 7, 254)), "'label_retrieved' has the value 254"),
    "in the truth": (changed("truth", label=at(label(), 599, 9)), "the value 9"),
    "in a decision": (changed("hard", label=at(label(), 0, 100)), "the value 100"),
    "in affinity labels": (changed("labels", label=at(label()[::4, ::4], 0, 77)), "the value 77"),
    "labels larger than the image": (changed("labels", label=np.zeros((21, 5), np.uint8)), "larger than its image"),
    "not a number": (changed("cam", scores=at(scores(2), 3, np.nan)), "'scores' has values that are not finite"),
    "infinite": (changed("cam", background=at(scores(2)[0], 3, np.inf)), "'background' has values that are not finite"),
    "negative": (changed("cam", scores=at(scores(2), 3, -0.5)), "'scores' has values from -0.5"),
    "another class": (changed("cam", classes=np.array([0, 2], np.int16)), "'classes' has values from 0 to 2"),
    "classes of another image": (changed("cam", classes=np.array([1], np.int16), scores=scores(1)), "not those of the index"),
    "another resolution": (changed("cam", background=scores(2)[0, 1:]), "'background' is 4 x 8, expected 5 x 8"),
    "no probability": (changed("soft", scores=at(scores(3), 3, 1.5)), "'scores' has values from"),
    "no probabilities": (changed("soft", scores=scores(3) / 2), "their sums are not 1"),
    "scores and a decision": (changed("soft", label=label()), "holds not one of 'scores' and 'label'"),
    "neither": (changed("hard", label=None), "holds not one of"),
    "a class too few": (changed("soft", scores=scores(2)), "expected 3 x 5 x 8"),
    "a box of no class": (changed("instances", boxes=at(SOUND["instances"][2]["boxes"], 9, 5)), "one of 2 classes"),
    "a box that is no number": (changed("instances", boxes=at(SOUND["instances"][2]["boxes"], 0, np.nan)), "not finite"),
    "a window outside": (changed("instances", windows=np.array([[2, 22, 1, 5], [0, 5, 0, 5]], np.int32)), "outside the image"),
    "pixels of other windows": (changed("instances", pixels=np.ones(99, np.uint8)), "'pixels' is 99, expected 105"),
    "pixels of no kind": (changed("instances", pixels=np.full(105, 7, np.uint8)), "other than 0, 1 and 255"),
    "scores of other boxes": (changed("instances", scores=np.ones(3, np.float32)), "'scores' is 3, expected 2"),
    "maps of other classes": (changed("cam", scores=scores(1)), "'scores' is 1 x 5 x 8, expected 2 x 5 x 8"),
    "a score above 1": (changed("instances", scores=np.array([0.5, 2], np.float32)), "'scores' has values from 0.5 to 2"),
}  # fmt: skip


def found(path: Path, stage: str, index: Index | None, output: str = "", settings: dict = SETTINGS) -> list[str]:
    return list(faults(str(path), stage, output, settings, index))


@pytest.mark.parametrize("kind", SOUND)
def test_sound_artifacts(tmp_path, index, kind):
    stage, schema, arrays = SOUND[kind]
    with create(tmp_path / "a.h5", schema, dataset="demo", split="train", classes=CLASSES) as artifact:
        for name in IDS:
            artifact.put(name, **arrays)
    assert found(tmp_path / "a.h5", stage, index) == []


@pytest.mark.parametrize(("case", "message"), WRONG.values(), ids=WRONG)
def test_wrong_arrays(tmp_path, index, case, message):
    kind, arrays = case
    stage, schema, sound = SOUND[kind]
    with create(tmp_path / "a.h5", schema, dataset="demo", split="train", classes=CLASSES) as artifact:
        for name in IDS:
            artifact.put(name, **(arrays if name == "b" else sound))
    (line,) = found(tmp_path / "a.h5", stage, index)
    assert line.startswith("image 'b': ") and message in line


@pytest.mark.parametrize(
    ("about", "ids", "message"),
    [
        ({}, ("a", "b"), "lacks images, 1, such as 'c'"),
        ({}, (*IDS, "d"), "has too many images, 1, such as 'd'"),
        ({"split": "val"}, IDS, "has too many images, 2, such as 'a'"),
        ({"split": "other"}, IDS, "has no split 'other'"),
        ({"classes": ("cat", "cow")}, IDS, "classes cat, cow, the index has cat, dog"),
        ({"dataset": "voc"}, IDS, "belongs to data set 'voc'"),
    ],
)
def test_other_images(tmp_path, index, about, ids, message):
    about = {"dataset": "demo", "split": "train", "classes": CLASSES} | about
    with create(tmp_path / "a.h5", "mask", **about) as artifact:
        for name in ids:
            artifact.put(name, label=label())
    (line,) = found(tmp_path / "a.h5", "masks", index)
    assert message in line


def test_a_schema_that_no_stage_writes(tmp_path, index):
    with create(tmp_path / "a.h5", "flow", dataset="demo", split="train", classes=CLASSES):
        pass
    assert found(tmp_path / "a.h5", "masks", index) == ["holds 'flow', which no stage writes"]


def test_few_faults_are_told_of_many(tmp_path, index):
    with create(tmp_path / "a.h5", "mask", dataset="demo", split="train", classes=CLASSES) as artifact:
        for number in range(50):
            artifact.put(f"{number}", label=label())
        for name in IDS:
            artifact.put(name, label=at(label(), 0, 9))
    assert len(found(tmp_path / "a.h5", "masks", index)) == MOST_FAULTS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.weight"), "lacks layers, 1, such as head.weight"),
        (lambda state: state.update(more=torch.zeros(1)), "has too many layers, 1, such as more"),
        (lambda state: state.update({"head.weight": torch.zeros(9, 1)}), "head.weight is (9, 1), expected"),
        (lambda state: state["head.weight"].fill_(float("nan")), "head.weight has values that are not finite"),
    ],
)
def test_wrong_weights(tmp_path, change, message):
    settings = SETTINGS | {"block": classifier_block()}
    shapes = network("train_classifier", settings).state_dict()
    state = {name: torch.zeros(value.shape, dtype=value.dtype) for name, value in shapes.items()}
    save_file(state, tmp_path / "a.safetensors")
    assert found(tmp_path / "a.safetensors", "train_classifier", None, "weights", settings) == []
    change(state)
    save_file(state, tmp_path / "a.safetensors")
    (line,) = found(tmp_path / "a.safetensors", "train_classifier", None, "weights", settings)
    assert message in line


def png() -> bytes:
    content = io.BytesIO()
    Image.fromarray(label()).save(content, format="PNG")
    return content.getvalue()


FILES = {
    "curve": ("train_classifier", "curve", "a.curve.csv", b"iteration,learning_rate,loss\n50,0.1,nan\n", "line 2: loss is 'nan'"),
    "curve without columns": ("train_classifier", "curve", "a.curve.csv", b"step,loss\n1,2\n", "without iteration"),
    "table": ("miou", "groups", "a.csv", b"system,stage,split,group_by,group,miou\ncam,cam,val,labels,1,101\n", "miou is '101'"),
    "table of other rows": ("cost", "cost", "a.csv", b"system,hours\ncam\n", "line 2: 1 cells, expected 2"),
    "table without columns": ("miou", "miou", "a.csv", b"system,stage\ncam,cam\n", "without prediction"),
    "no table": ("cost", "cost", "a.csv", b"\xff\xfe", "no table"),
    "thresholds": ("thresholds", "thresholds", "a.json", b'{"split": "val", "threshold": 7, "miou": {}}', "threshold 7"),
    "no thresholds": ("thresholds", "thresholds", "a.json", b'{"split": "val"}', "holds no threshold, miou"),
    "scores": ("score_masks", "scores", "a.json", b'{"splits": NaN}', "it holds NaN"),
    "no scores": ("score_masks", "scores", "a.json", b"[]", "holds no values by name"),
    "picture": ("montage", "montage", "a.png", png()[:-30], "no PNG that can be decoded"),
    "page": ("gallery", "page", "index.html", b" \n", "is empty"),
    "submission": ("submission", "submission", "a.tar.gz", b"x", "no archive"),
}  # fmt: skip


@pytest.mark.parametrize(("stage", "output", "name", "content", "message"), FILES.values(), ids=FILES)
def test_wrong_tables_and_pictures(tmp_path, stage, output, name, content, message):
    (tmp_path / name).write_bytes(content)
    (line,) = found(tmp_path / name, stage, None, output)
    assert message in line


def test_sound_tables_and_pictures(tmp_path):
    for stage, output, name, content in (
        ("train_classifier", "curve", "a.curve.csv", b"iteration,learning_rate\n"),
        ("miou", "groups", "a.csv", b"system,stage,split,group_by,group,miou\ncam,cam,val,labels,1,\n"),
        ("thresholds", "thresholds", "a.json", b'{"split": "val", "threshold": 0.5, "miou": {"0.5": null}}'),
        ("montage", "montage", "a.png", png()),
        ("gallery", "page", "index.html", b"<html>"),
    ):
        (tmp_path / name).write_bytes(content)
        assert found(tmp_path / name, stage, None, output) == [], name
    write_tar(tmp_path / "a.tar.gz", {"results/a.png": png()}, "w:gz")
    assert found(tmp_path / "a.tar.gz", "submission", None) == []
