"""Stages as they are called: data sets of every kind through index, truth and saliency, and every mistake in one line."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from conftest import SOURCES
from own_photographs import CSV, HEIGHT, IDS, VOC, WIDTH, label_of, plan_of, write_photographs
from PIL import Image
from stage_runs import arguments, refused, run

from workflow_scripts import methods
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.data import by_image
from workflow_scripts.data.checkpoints.weights import save_weights
from workflow_scripts.data.index import read_index
from workflow_scripts.run.command import Job
from workflow_scripts.stages import predictions
from workflow_scripts.store.artifacts import Reader, create
from workflow_scripts.training import device


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with one data set of eight photographs, both as a VOC tree and as a table, and their saliency maps."""
    monkeypatch.chdir(tmp_path)
    write_photographs()
    return tmp_path


@pytest.fixture
def indexed(folder) -> Plan:
    """The same with its index made."""
    plan = plan_of(VOC)
    assert run(plan, "index") is None
    return plan


# --- every kind -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [VOC, CSV], ids=["voc", "csv"])
def test_a_data_set_of_files_through_index_truth_and_saliency(folder, data):
    plan = plan_of(data)
    for stage, names in (("index", {}), ("truth", {}), ("saliency", {"saliency": "supplied"})):
        assert run(plan, stage, **names) is None
    index = read_index("results/mine/index.h5", "mine")
    assert index.ids == IDS and index.classes == ("cat", "dog")
    assert index.split("all") == IDS[:6] and index.split("val") == IDS[6:]
    truth, saliency = (
        Reader("results/mine/truth.h5", "truth", "mine"),
        Reader("results/mine/saliency/supplied.h5", "saliency", "mine"),
    )
    assert truth.ids == saliency.ids == IDS
    for number, identifier in enumerate(IDS):
        assert index.size_of(identifier) == (HEIGHT, WIDTH)
        assert index.classes_of(identifier).tolist() == [number % 2]
        assert index.boxes_of(identifier)[:, 4].tolist() == [number % 2]
        np.testing.assert_array_equal(truth.read(identifier)["label"], label_of(number))
        np.testing.assert_array_equal(saliency.read(identifier)["saliency"] == 200, label_of(number) % 255 > 0)
    sidecar = json.loads(Path("results/mine/truth.h5.json").read_text())
    assert sidecar["stage"] == "truth" and list(sidecar["parents"]) == ["results/mine/index.h5"]


def test_voc_and_table_give_the_same_truth(folder):
    contents = []
    for data in (VOC, CSV):
        plan = plan_of(data)
        assert run(plan, "index") is None and run(plan, "truth") is None
        contents.append(Path("results/mine/truth.h5").read_bytes())
    assert contents[0] == contents[1]


def test_held_out_ids_are_apart_and_fixed(folder):
    held_out = set()
    for _ in range(2):
        plan = plan_of(VOC)
        assert run(plan, "index") is None
        index = read_index("results/mine/index.h5")
        first, rest = index.split("held_out"), index.split("rest")
        assert len(first) == 2 and sorted(first + rest) == IDS[:6] and not set(first) & set(rest)
        assert first == sorted(first) and rest == sorted(rest)  # in the order of the list that they come from
        held_out.add(tuple(first))
    assert len(held_out) == 1 and held_out != {tuple(IDS[:2])}


def test_without_holds_no_id_of_the_other_split(folder):
    Path("VOC/val.txt").write_text("\n".join(IDS[4:]) + "\n")
    plan = plan_of(VOC, splits={"rest": {"of": "all", "without": "val"}})
    assert run(plan, "index") is None
    assert read_index("results/mine/index.h5").split("rest") == IDS[:4]


@pytest.mark.parametrize("data", [VOC, CSV], ids=["voc", "csv"])
def test_limit_takes_the_first_images_of_each_split(folder, data):
    plan = plan_of(data, limit=3)
    assert run(plan, "index") is None
    index = read_index("results/mine/index.h5")
    assert index.split("all") == IDS[:3] and index.split("val") == IDS[6:]
    assert len(index.split("held_out")) == 2 and len(index.split("rest")) == 1


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_a_mistake_ends_the_process_with_one_line(folder):
    plan = plan_of(VOC, root="nowhere")
    command = [sys.executable, "-m", "workflow_scripts.stages.index", *arguments(plan, "index")]
    result = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(SOURCES)})
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.startswith("error: nowhere") and result.stderr.count("\n") == 1
    assert not Path("results/mine/index.h5").exists()


def test_index_without_its_data_says_how_to_get_them(folder):
    refused(plan_of(VOC, root="nowhere"), "index", "nowhere", "root")
    refused(plan_of(CSV, table="nowhere.csv"), "index", "nowhere.csv", "config")


def test_index_reports_all_faults_together(folder):
    Path(f"VOC/JPEGImages/{IDS[0]}.jpg").unlink()
    image = Path(f"VOC/JPEGImages/{IDS[1]}.jpg")
    image.write_bytes(image.read_bytes()[:300])
    Path(f"VOC/Annotations/{IDS[2]}.xml").write_text("<annotation>")
    refused(plan_of(VOC), "index", "3 faults", *IDS[:3], "missing", "truncated", faults=3)


def test_a_part_of_a_split_that_is_empty(folder):
    refused(plan_of(VOC, splits={"rest": {"of": "val", "without": "val"}}), "index", "splits.rest", "empty", "'val'")
    refused(plan_of(VOC, limit=2), "index", "splits.rest", "empty", "limit")


def test_saliency_folder_missing(indexed):
    plan = plan_of(VOC, overrides={"saliency": {"supplied": {"path": "nowhere"}}})
    refused(plan, "saliency", "nowhere", "{id}.png", saliency="supplied")


def test_saliency_maps_missing_and_of_another_size(indexed):
    Path(f"Saliency/{IDS[2]}.png").unlink()
    Image.new("L", (WIDTH, HEIGHT + 1)).save(f"Saliency/{IDS[3]}.png")
    refused(
        indexed, "saliency", "2 faults", f"Saliency/{IDS[2]}.png", f"{IDS[3]!r}: map is {HEIGHT + 1} x {WIDTH}",
        f"{HEIGHT} x {WIDTH} (H x W)", saliency="supplied", faults=2,
    )  # fmt: skip


def test_masks_missing_of_another_size_and_with_an_unknown_id(indexed):
    Path(f"VOC/SegmentationClassAug/{IDS[1]}.png").unlink()
    Image.new("L", (WIDTH - 2, HEIGHT)).save(f"VOC/SegmentationClassAug/{IDS[3]}.png")
    Image.new("L", (WIDTH, HEIGHT), 3).save(f"VOC/SegmentationClassAug/{IDS[6]}.png")
    refused(
        indexed, "truth", "3 faults", f"SegmentationClassAug/{IDS[1]}.png", "missing",
        f"{IDS[3]!r}: mask is {HEIGHT} x {WIDTH - 2}", f"SegmentationClassAug/{IDS[6]}.png: label id 3", faults=3,
    )  # fmt: skip


def test_a_scored_split_of_a_table_without_masks(folder):
    rows = Path("table.csv").read_text()
    Path("table.csv").write_text(rows.replace(f"masks/{IDS[6]}.png", "").replace(f"masks/{IDS[7]}.png", ""))
    plan = plan_of(CSV)
    assert run(plan, "index") is None
    refused(plan, "truth", "2 faults", "table.csv", IDS[6], IDS[7], "column 'mask'", faults=2)


def test_an_image_that_changed_after_the_index_was_made(indexed, tmp_path):
    Image.new("RGB", (5, 5)).save(f"VOC/JPEGImages/{IDS[0]}.jpg")
    _untrained(indexed)
    refused(indexed, "cams", IDS[0], "changed since the index", "run again", seed="0", cam="cam")


def _untrained(plan: Plan) -> None:
    """Weights of the classifier `cam` as it is before training."""
    names = {"dataset": "mine", "seed": "0", "classifier": "cam"}
    settings = json.loads(plan.settings("classification", names), object_hook=lambda item: SimpleNamespace(**item))
    path = Path(plan.outputs("train_classifier", names)["weights"])
    save_weights(methods.build(settings.classifier, ("cat", "dog")), path)


def artifact(path: str, schema: str, dataset: str = "mine", ids=IDS, **arrays) -> None:
    with create(path, schema, dataset=dataset, split="all", classes=["cat", "dog"]) as file:
        for identifier in ids:
            file.put(identifier, **arrays)


MAPS = {"classes": np.array([0], np.int16), "scores": np.ones((1, 5, 8), np.float16)}
CAMS = "results/mine/seed-0/cams/cam.h5"


def test_hdf5_of_another_data_set(indexed):
    artifact(CAMS, "cam", dataset="other", **MAPS)
    refused(indexed, "masks", CAMS, "'other'", "expected 'mine'", "run again", seed="0", mask="cam")


def test_hdf5_of_another_schema(indexed):
    artifact(CAMS, "mask", label=label_of(0))
    refused(indexed, "masks", CAMS, "holds 'mask', expected 'cam'", seed="0", mask="cam")


def test_hdf5_of_other_images(indexed):
    artifact(CAMS, "cam", ids=IDS[:2], **MAPS)
    refused(indexed, "masks", CAMS, "has no image 'photo_2'", "run again", seed="0", mask="cam")


def test_hdf5_cut_short(indexed):
    artifact(CAMS, "cam", **MAPS)
    content = Path(CAMS).read_bytes()
    Path(CAMS).write_bytes(content[: len(content) // 2])
    refused(indexed, "masks", CAMS, "not a readable HDF5 file", "run again", seed="0", mask="cam")


def test_an_index_of_another_data_set_or_without_the_split(indexed):
    for path, change, fragment in (
        ("results/mine/index.h5", lambda file: file.attrs.modify("dataset", "other"), "belongs to data set 'other'"),
        (
            "results/mine/index.h5",
            lambda file: file.attrs.modify("dataset", "mine") or file.pop("splits/rest"),
            "'rest'",
        ),
    ):
        with h5py.File(path, "r+") as file:
            change(file)
        Path(f"{path}.json").unlink(missing_ok=True)  # which would tell that the bytes are not its own
        artifact(CAMS, "cam", **MAPS)
        refused(indexed, "masks", path, fragment, "run again", seed="0", mask="cam")


def test_no_learnt_background_in_the_maps(indexed):
    path = "results/mine/seed-0/cams/eps.h5"
    artifact(path, "cam", **MAPS)
    refused(indexed, "masks", path, "no learnt background", "rule 'constant'", seed="0", mask="eps_learnt")


@pytest.mark.parametrize(
    ("kind", "given", "processes"),
    [("cuda", "weights", 1), ("cpu", "weights", 8), ("cuda", "soft", 8), ("cpu", "soft", 8)],
)
def test_predictions_of_a_network_on_a_gpu_are_made_by_one_process(indexed, monkeypatch, kind, given, processes):
    """Every further one would hold a network of its own on the GPU; a dense CRF never uses it."""
    started = []

    def without_workers(make_state, function, items, workers):
        started.append(workers)
        return ({"label": label_of(0)} for _ in items)

    monkeypatch.setattr(device, "device", lambda: SimpleNamespace(type=kind))
    monkeypatch.setattr(by_image, "ordered_map", without_workers)
    inputs = {"index": "results/mine/index.h5", "images": None, "weights": None, "soft": None, given: "x"}
    settings = SimpleNamespace(dataset="mine", splits=["val"])
    outputs = SimpleNamespace(predictions="results/mine/single.h5")
    predictions.main(Job(settings, SimpleNamespace(**inputs), outputs, 8, ""))
    assert started == [processes]


def test_a_masks_artifact_is_as_large_as_its_images(indexed):
    artifact(CAMS, "cam", **MAPS)
    assert run(indexed, "masks", seed="0", mask="cam") is None
    label = Reader("results/mine/seed-0/masks/cam.h5", "mask", "mine").read(IDS[0])["label"]
    assert label.shape == (HEIGHT, WIDTH) and label.dtype == np.uint8 and (label == 1).all()
