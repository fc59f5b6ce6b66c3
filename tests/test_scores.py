"""Scores of an artifact: its label maps against the truth, by hand; and the threshold that a held-out split chooses."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from workflow_scripts.data.index import write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.stages import scores, thresholds
from workflow_scripts.store.artifacts import create

CLASSES = ("cat", "dog")
IDS = ["one", "two"]
SIZE = (4, 6)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Truth: the left half of `one` is a cat, the right third of `two` a dog, whose first row is void."""
    entries = [Entry(name, "", *SIZE, "", (number,), np.zeros((0, 5))) for number, name in enumerate(IDS)]
    write_index(tmp_path / "index.h5", "mine", CLASSES, entries, {"all": IDS, "second": IDS[1:]})
    with create(tmp_path / "truth.h5", "truth", dataset="mine", split="all", classes=CLASSES) as artifact:
        for identifier, label in zip(IDS, truth(), strict=True):
            artifact.put(identifier, label=label)
    return tmp_path


def truth() -> tuple[np.ndarray, np.ndarray]:
    one, two = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    one[:, :3] = 1
    two[:, 4:] = 2
    two[0] = 255
    return one, two


def scored(folder: Path, schema: str, arrays: list[dict], **settings) -> dict:
    with create(folder / "artifact.h5", schema, dataset="mine", split="all", classes=CLASSES) as artifact:
        for identifier, values in zip(IDS, arrays, strict=True):
            artifact.put(identifier, **values)
    inputs = {"index": folder / "index.h5", "artifact": folder / "artifact.h5", "truth": folder / "truth.h5"}
    about = {"dataset": "mine", "schema": schema, "splits": ["all", "second"]} | settings
    job = SimpleNamespace(
        settings=SimpleNamespace(**about),
        inputs=SimpleNamespace(**inputs, thresholds=None),
        outputs=SimpleNamespace(scores=folder / "scores.json"),
    )
    scores.main(job)
    return json.loads((folder / "scores.json").read_text())


def test_ignored_pixels_are_misses_and_void_ones_do_not_count(folder):
    one, two = truth()
    one[0] = 255  # abstains in three pixels of the cat and three of the background
    two[:] = 0  # misses the dog
    result = scored(folder, "mask", [{"label": one}, {"label": two}])["splits"]
    assert result["all"]["confusion"] == [[9 + 12, 0, 0, 3], [0, 9, 0, 3], [6, 0, 0, 0]]
    assert result["second"]["confusion"] == [[12, 0, 0, 0], [0, 0, 0, 0], [6, 0, 0, 0]]
    assert (result["all"]["images"], result["second"]["images"]) == (2, 1)
    assert result["all"]["by_labels"] == {"1": result["all"]["confusion"]}


def test_maps_are_cut_at_the_threshold_they_are_given(folder):
    """Two columns of the cat have score 0.7 of the maximum, one 0.3: which of them are found depends on the threshold."""
    one, two = np.zeros((1, *SIZE), np.float16), np.zeros((1, *SIZE), np.float16)
    one[0, :, 0], one[0, :, 1], one[0, :, 2] = 1, 0.7, 0.3
    maps = [{"classes": np.array([0], np.int16), "scores": one}, {"classes": np.array([1], np.int16), "scores": two}]
    for threshold, found in ((0.2, 12), (0.5, 8), (0.9, 4)):
        result = scored(folder, "cam", maps, threshold=threshold)
        assert result["threshold"] == threshold
        assert result["splits"]["all"]["confusion"] == [[12 + 12, 0, 0, 0], [12 - found, found, 0, 0], [6, 0, 0, 0]]


def test_a_prediction_is_its_arg_max(folder):
    soft = np.stack([np.full(SIZE, 0.3), np.full(SIZE, 0.3), np.full(SIZE, 0.4)]).astype(np.float16)
    result = scored(folder, "prediction", [{"scores": soft}, {"scores": soft}], threshold=None)
    assert result["splits"]["all"]["confusion"] == [[0, 0, 12 + 12, 0], [0, 0, 12, 0], [0, 0, 6, 0]]


@pytest.mark.parametrize(("inside", "outside", "first"), [(0.8, 0.305, 0.31), (0.5, 0.115, 0.12)])
def test_the_threshold_between_object_and_background_is_chosen(folder, inside, outside, first):
    """Between the two every threshold is right, and the first of them is taken."""
    with create(folder / "cams.h5", "cam", dataset="mine", split="all", classes=CLASSES) as artifact:
        for number, (identifier, label) in enumerate(zip(IDS, truth(), strict=True)):
            maps = np.where(label == number + 1, inside, outside).astype(np.float16)
            maps[1, 5 * number] = 1  # the maximum of the map, on the object
            artifact.put(identifier, classes=np.array([number], np.int16), scores=maps[None])
    inputs = {name: folder / f"{name}.h5" for name in ("index", "truth", "cams")}
    job = SimpleNamespace(
        settings=SimpleNamespace(dataset="mine", split="all"),
        inputs=SimpleNamespace(**inputs),
        outputs=SimpleNamespace(thresholds=folder / "thresholds.json"),
    )
    thresholds.main(job)
    result = json.loads((folder / "thresholds.json").read_text())
    assert result["threshold"] == first
    assert result["miou"][str(result["threshold"])] == pytest.approx(1) and result["images"] == 2
    assert result["miou"]["0.0"] < 0.5 and result["miou"]["0.05"] < 0.5
