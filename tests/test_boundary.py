"""Boundaries and confusion ratios: closed forms, and the stages that count them over images."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import refused
from scipy.io import savemat
from scipy.sparse import csc_array

from workflow_scripts.data.index import write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.data.readers.pascal_context import read_context, read_names
from workflow_scripts.data.readers.sbd import read_contours
from workflow_scripts.evaluation.boundary import boundary_scores, contours, precision_recall_f1
from workflow_scripts.evaluation.confusion_ratio import confusion_ratio
from workflow_scripts.run.command import Job
from workflow_scripts.stages import boundaries, boundary_table, confusion_ratios, confusion_table
from workflow_scripts.store.artifacts import create

SIDE = 100
DIAGONAL = np.hypot(SIDE, SIDE)


def square(start: int = 20, end: int = 60, shift: int = 0) -> np.ndarray:
    label = np.zeros((SIDE, SIDE), np.uint8)
    label[start:end, start + shift : end + shift] = 1
    return label


def scores(prediction: np.ndarray, truth: np.ndarray, pixels: float) -> tuple[float, float, float]:
    return precision_recall_f1(boundary_scores(contours(prediction), contours(truth), pixels / DIAGONAL))


def test_contours_are_a_line_of_one_pixel():
    edges = contours(square(20, 60))
    expected = np.zeros((SIDE, SIDE), bool)
    expected[19, 20:60] = expected[59, 20:60] = True  # above the square and its last row
    expected[20:60, 19] = expected[20:60, 59] = True
    np.testing.assert_array_equal(edges, expected)
    assert not contours(np.ones((5, 7), np.uint8)).any()


def test_contours_between_touching_classes_count_once():
    label = np.zeros((4, 6), np.uint8)
    label[:, 2:4], label[:, 4:] = 1, 2
    np.testing.assert_array_equal(np.flatnonzero(contours(label)[0]), [1, 3])


def test_void_pixels_become_the_nearest_label():
    label = square()
    label[20, 20:60] = label[59, 20:60] = label[20:60, 20] = label[20:60, 59] = 255
    one = contours(label)
    assert one.sum() > 0 and boundary_scores(one, contours(square()), 2 / DIAGONAL)[0] == one.sum()
    assert not contours(np.full((4, 4), 255, np.uint8)).any()


def test_a_perfect_boundary():
    assert scores(square(), square(), 0) == (1, 1, 1)


@pytest.mark.parametrize("shift", [1, 3, 8])
def test_a_shifted_boundary_matches_within_its_shift(shift):
    """Of the four sides the two that are shifted along themselves still match, but for what sticks out."""
    assert scores(square(shift=shift), square(), shift) == (1, 1, 1)
    precision, recall, f1 = scores(square(shift=shift), square(), shift - 0.5)
    assert max(precision, recall, f1) < 1
    # A line alone, moved by so much: nothing matches below it.
    line, moved = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
    line[:, 40] = moved[:, 40 + shift] = True
    assert boundary_scores(moved, line, (shift - 0.01) / DIAGONAL).tolist() == [0, SIDE, 0, SIDE]
    assert boundary_scores(moved, line, (shift + 0.01) / DIAGONAL).tolist() == [SIDE, SIDE, SIDE, SIDE]


def test_half_a_boundary_is_precise_and_half_found():
    line = np.zeros((SIDE, SIDE), bool)
    line[:, 50] = True
    half = line.copy()
    half[50:] = False
    counts = boundary_scores(half, line, 0)
    assert counts.tolist() == [50, 50, 50, 100]
    assert precision_recall_f1(counts) == (1, 0.5, pytest.approx(2 / 3))
    assert boundary_scores(line, half, 0).tolist() == [50, 100, 50, 50]


def test_empty_boundaries():
    line, none = np.eye(5, dtype=bool), np.zeros((5, 5), bool)
    precision, recall, f1 = precision_recall_f1(boundary_scores(none, line, 0.5))
    assert np.isnan(precision) and recall == 0 and np.isnan(f1)
    precision, recall, _ = precision_recall_f1(boundary_scores(line, none, 0.5))
    assert precision == 0 and np.isnan(recall)
    assert boundary_scores(none, none, 0.5).tolist() == [0, 0, 0, 0]
    assert precision_recall_f1(np.array([0, 4, 0, 4])) == (0, 0, 0)
    with pytest.raises(ValueError, match="one shape"):
        boundary_scores(line, none[:4], 0.5)


def test_confusion_ratio_by_hand():
    truth = np.array([[1, 1, 0, 0, 0, 255]])
    context = np.array([[2, 0, 2, 2, 1, 2]])  # of which label 2 is the background in question
    prediction = np.array([[1, 0, 1, 0, 1, 1]])
    assert confusion_ratio(prediction, truth, context, 1, 2) == (2, 1)  # one beside the train, one on void
    assert confusion_ratio(truth, truth, context, 1, 2) == (0, 2)
    assert confusion_ratio(np.zeros_like(truth), truth, context, 1, 2) == (0, 0)
    with pytest.raises(ValueError, match="one shape"):
        confusion_ratio(prediction, truth, context.T, 1, 2)


# The files of SBD and PASCAL-Context


def mat(**content) -> bytes:
    file = io.BytesIO()
    savemat(file, content)
    return file.getvalue()


def test_boundaries_of_sbd_are_the_union_over_classes(tmp_path):
    one, other = np.zeros((4, 5)), np.zeros((4, 5))
    one[1], other[:, 3] = 1, 1
    cells = np.empty((3, 1), object)
    for place, item in enumerate((one, np.zeros((4, 5)), other)):
        cells[place, 0] = csc_array(item)
    path = tmp_path / "x.mat"
    path.write_bytes(mat(GTcls={"Boundaries": cells}))
    np.testing.assert_array_equal(read_contours(path), (one + other) > 0)
    path.write_bytes(mat(GTcls={"Segmentation": one}))
    refused(lambda: read_contours(path), path, "GTcls.Boundaries")


def test_labels_of_pascal_context(tmp_path):
    (tmp_path / "labels.txt").write_text("2: aeroplane\n307: platform\n431: water\n\n")
    assert read_names(tmp_path) == {"aeroplane": 2, "platform": 307, "water": 431}
    path = tmp_path / "x.mat"
    path.write_bytes(mat(LabelMap=np.array([[2, 431], [307, 431]], np.uint16)))
    assert read_context(path).tolist() == [[2, 431], [307, 431]]
    path.write_bytes(b"no MATLAB file")
    refused(lambda: read_context(path), path, "LabelMap")
    (tmp_path / "labels.txt").write_text("water\n")
    refused(lambda: read_names(tmp_path), "labels.txt, line 1", "'water'")
    refused(lambda: read_names(tmp_path / "no"), "labels.txt", "PASCAL-Context")


# The stages

IDS = ("all_1", "all_2")


def namespace(value):
    return json.loads(json.dumps(value), object_hook=lambda item: SimpleNamespace(**item))


def artifact(path, schema: str, **arrays) -> str:
    with create(path, schema, dataset="mine", split="train", classes=["boat", "train"]) as file:
        for place, identifier in enumerate(IDS):
            file.put(identifier, **{name: values[place] for name, values in arrays.items()})
    return str(path)


@pytest.fixture
def inputs(tmp_path) -> SimpleNamespace:
    """Two images, of which the first shows a boat: its mask is right but for ten pixels of water."""
    boat = square()
    mistaken = boat.copy()
    mistaken[70, :10] = 1
    water = np.zeros_like(boat)
    water[70:] = 2  # of the renderer's contexts: rails, water, branch
    entries = [Entry(name, "", SIDE, SIDE, "", (place,), np.zeros((0, 5))) for place, name in enumerate(IDS)]
    write_index(tmp_path / "index.h5", "mine", ["boat", "train"], entries, {"train": list(IDS)})
    masks = artifact(tmp_path / "masks.h5", "mask", label=[mistaken, 2 * boat])
    truth = artifact(tmp_path / "truth.h5", "truth", label=[boat, 2 * boat], context=[water, water])
    return SimpleNamespace(index=str(tmp_path / "index.h5"), masks=masks, truth=truth)


def run(stage, settings: dict, inputs: SimpleNamespace, path, name: str = "scores"):
    stage.main(Job(namespace(settings), inputs, SimpleNamespace(**{name: str(path)}), 1, "0"))
    return json.loads(path.read_text()) if name == "scores" else path.read_text().splitlines()


def test_boundaries_of_a_split_and_their_table(inputs, tmp_path):
    settings = {"dataset": "mine", "split": "train", "sbd": None, "tolerances": [0.0075, 0.02]}
    found = run(boundaries, settings, inputs, tmp_path / "b.json")
    true = 2 * int(contours(square()).sum())
    assert (found["split"], found["images"], found["left_out"]) == ("train", 2, 0)
    counts = found["tolerances"]["0.0075"]
    assert counts["matched_true"] == counts["true"] == true
    assert counts["matched_predicted"] == true < counts["predicted"]
    rows = [{"system": "eps", "mask": "eps", "scores": [str(tmp_path / "b.json")]}]
    lines = run(boundary_table, {"rows": rows}, SimpleNamespace(scores=[]), tmp_path / "b.csv", "table")
    assert lines[0].startswith("system,mask,split,images,seeds,tolerance,recall,recall_std,precision")
    assert lines[1].startswith("eps,eps,train,2,1,0.0075,100.00,,") and lines[2].startswith("eps,eps,train,2,1,0.02,")


def test_true_boundaries_of_sbd_where_it_has_them(inputs, tmp_path):
    (tmp_path / "sbd" / "cls").mkdir(parents=True)
    cells = np.empty((1, 1), object)
    cells[0, 0] = csc_array(contours(square()).astype(float))
    (tmp_path / "sbd" / "cls" / "all_2.mat").write_bytes(mat(GTcls={"Boundaries": cells}))
    settings = {"dataset": "mine", "split": "train", "sbd": str(tmp_path / "sbd"), "tolerances": [0]}
    found = run(boundaries, settings, inputs, tmp_path / "b.json")
    assert (found["images"], found["left_out"]) == (1, 1)
    assert len(set(found["tolerances"]["0"].values())) == 1  # the second mask is right


@pytest.mark.parametrize("kind", ["synthetic", "voc"])
def test_confusion_ratios_of_a_split_and_their_table(inputs, tmp_path, kind):
    settings = {"dataset": "mine", "split": "train", "kind": kind, "context": None}
    settings["pairs"] = [{"of": "boat", "context": "water"}, {"of": "train", "context": "rails"}]
    if kind == "voc":
        settings["context"] = str(tmp_path)
        (tmp_path / "labels.txt").write_text("431: water\n397: rails\n")
        lake = np.zeros((SIDE, SIDE), np.uint16)
        lake[70:] = 431
        (tmp_path / "all_1.mat").write_bytes(mat(LabelMap=lake))
    found = run(confusion_ratios, settings, inputs, tmp_path / "c.json")
    images = 1 if kind == "synthetic" else 0  # nobody labelled the second photograph
    assert found["pairs"] == [
        {"of": "boat", "context": "water", "images": 1, "mistaken": 10, "found": 1600},
        {"of": "train", "context": "rails", "images": images, "mistaken": 0, "found": 1600 * images},
    ]
    rows = [{"system": "eps", "mask": "eps", "scores": [str(tmp_path / "c.json")]}]
    lines = run(confusion_table, {"rows": rows}, SimpleNamespace(scores=[]), tmp_path / "c.csv", "table")
    assert lines[1:] == [
        "eps,eps,train,boat,water,1,1,0.0063,",
        f"eps,eps,train,train,rails,{images},1,{'0.0000' if images else ''},",
    ]
    settings["pairs"][0]["context"] = "lava"
    refused(lambda: run(confusion_ratios, settings, inputs, tmp_path / "c.json"), "no background 'lava'", "water")


def test_the_line_through_void_pixels_is_one():
    """They belong to the nearest label, so that there is one line and not one on either side."""
    label = np.array([[1, 1, 255, 255, 255, 2, 2]] * 3, np.uint8)
    assert contours(label).sum(axis=1).tolist() == [1, 1, 1]
    assert not contours(np.full((3, 4), 255, np.uint8)).any()
    assert not contours(np.array([[1, 255], [255, 1]], np.uint8)).any()
