"""Labels and saliency: closed forms of the rule, what is planned without a classifier, and the stage on a user's photographs."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import stage_runs
from conftest import SOURCES, put, refused
from own_photographs import CSV, IDS, label_of, plan_of, write_photographs

from workflow_scripts.commands.estimates import Estimates
from workflow_scripts.config.layers import read_settings
from workflow_scripts.config.planning import systems
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.refine import salient_label_mask
from workflow_scripts.refine.background import Maps
from workflow_scripts.store.artifacts import Reader

CHAIN = {"dataset": "mine", "seed": "0"}


# The rule


def maps(saliency, *scores, classes=None) -> Maps:
    """Maps of the classes 3, 4, ...; none of them where no scores are given."""
    classes = np.arange(3, 3 + len(scores)) if classes is None else np.array(classes)
    stack = np.array(scores, np.float32) if scores else None
    return Maps(classes, stack, None, lambda: None, "here", lambda: np.array(saliency, np.float32))


def label(found: Maps, threshold: float = 0.5) -> list:
    rule = salient_label_mask.load(SimpleNamespace(threshold=threshold), None, None)
    return rule.labels(found, rule.probabilities(found))["label"].tolist()


def test_what_is_salient_has_the_only_label_without_a_map():
    """A pixel as salient as the threshold is background."""
    row = [[0, 0.25, 0.5, 0.75, 1]]
    assert label(maps(row, classes=[3])) == [[0, 0, 0, 4, 4]]
    assert label(maps(row, classes=[3]), 0.25) == [[0, 0, 4, 4, 4]]
    assert label(maps(row, classes=[3]), 0.75) == [[0, 0, 0, 0, 4]]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_probabilities_divide_the_odds_of_saliency_by_those_of_the_threshold(threshold):
    saliency = np.linspace(0, 1, 11, dtype=np.float32)[None]
    found = salient_label_mask.salient_labels(saliency, np.zeros((1, 11), int), 1, threshold)
    inside = saliency[:, 1:-1]
    odds = inside / (1 - inside) * (1 - threshold) / threshold
    np.testing.assert_allclose(found[1, :, 1:-1] / found[0, :, 1:-1], odds, rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-6)
    assert found.dtype == np.float32 and found[:, 0, 0].tolist() == [1, 0] and found[:, 0, -1].tolist() == [0, 1]


def test_of_several_labels_a_salient_pixel_has_that_of_the_strongest_map():
    """Maps are divided by their maxima: the second is ten times as high everywhere."""
    salient = [[1, 1, 1, 0, 1]]
    first, second = [[4, 3, 1, 4, 0]], [[10, 20, 40, 0, 0]]
    assert label(maps(salient, first, second)) == [[4, 4, 5, 0, 255]]  # no map has the last
    assert label(maps(salient, second, first)) == [[5, 5, 4, 0, 255]]


def test_equally_strong_maps_leave_a_salient_pixel_out_and_no_other():
    assert label(maps([[1, 1, 0]], [[1, 2, 1]], [[1, 2, 1]])) == [[255, 255, 0]]
    third = [[2, 0, 0]]
    assert label(maps([[1, 1, 0]], [[1, 2, 1]], [[1, 2, 1]], third)) == [[6, 255, 0]]


def test_where_any_class_may_be_each_has_what_is_not_background():
    found = salient_label_mask.salient_labels(np.array([[0.75]], np.float32), np.array([[-1]]), 2, 0.5)
    np.testing.assert_allclose(found[:, 0, 0], [0.25, 0.75, 0.75])


def test_an_image_without_labels_is_background_however_salient():
    assert label(maps([[1, 1]], classes=[])) == [[0, 0]]


# What is planned


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photographs()
    return tmp_path


def jobs(plan: Plan, mask: str = "labels_saliency") -> list[str]:
    path = plan.outputs("masks", {**CHAIN, "mask": mask})["masks"]
    return sorted(
        " ".join([stage, *(v for k, v in names.items() if k == "mask")]) for stage, names in plan.behind([path])
    )


def second_label(identifier: str = IDS[3]) -> None:
    table = Path("table.csv")
    lines = table.read_text().splitlines()
    rows = [line.replace(",dog,", ",cat;dog,", 1) if line.startswith(identifier) else line for line in lines]
    assert rows != lines
    table.write_text("\n".join(rows) + "\n")


WITHOUT = ["index", "masks labels_saliency", "saliency"]


def test_one_label_an_image_plans_no_classifier_and_the_first_image_with_two_does(photographs):
    assert jobs(plan_of(CSV)) == WITHOUT
    second_label()
    assert jobs(plan_of(CSV)) == sorted([*WITHOUT, "train_classifier", "cams"])


def test_images_of_no_class_need_no_classifier_either(photographs):
    text = Path("table.csv").read_text()
    Path("table.csv").write_text(text.replace(",dog,", ",-,").replace(",cat,", ", cat; ,"))
    assert jobs(plan_of(CSV)) == WITHOUT


def test_other_kinds_of_data_sets_plan_one_as_nobody_has_read_their_labels(raw):
    stages = [stage for stage, _ in systems.chain(Config(raw), "demo", "labels_saliency")]
    assert stages[:4] == ["train_saliency", "saliency", "train_classifier", "cams"]


def test_a_table_that_cannot_be_read_says_nothing_of_labels(photographs):
    Path("table.csv").write_text("id,image,labels\n")
    assert not plan_of(CSV).dataset("mine").single_labels()
    Path("table.csv").unlink()
    assert not plan_of(CSV).dataset("mine").single_labels()


def test_rows_and_stages_of_the_system_follow(photographs):
    """No row of maps that are not made; saliency is given, whether there is a classifier or not."""

    def told() -> tuple[list, list]:
        config = plan_of(CSV, systems=["labels_saliency"]).config
        rows = [row["stage"] for row in systems.rows(config, "mine", "labels_saliency")]
        return rows[:2], [item["kind"] for item in systems.given(config, "mine")]

    assert told() == (["mask", "segmentation"], ["saliency"])
    second_label()
    assert told() == (["cam", "mask"], ["saliency", "classifier"])


def test_a_second_label_makes_the_masks_stale(photographs):
    one = plan_of(CSV).settings("masks", {**CHAIN, "mask": "labels_saliency"})
    second_label()
    assert plan_of(CSV).settings("masks", {**CHAIN, "mask": "labels_saliency"}) != one


@pytest.mark.parametrize("threshold", [0, 1, -0.1])
def test_thresholds_that_part_nothing_are_refused(raw, threshold):
    put(raw, "masks.labels_saliency.threshold", threshold)
    refused(lambda: Config(raw), "masks.labels_saliency.threshold")


def test_the_stage_gives_salient_pixels_their_label(photographs):
    """Saliency maps of the photographs are 200 of 255 on the object, and 10 elsewhere, on the ignored border too."""
    plan = plan_of(CSV, systems=["labels_saliency"])
    for stage, names in [
        ("index", {}),
        ("saliency", {"saliency": "supplied"}),
        ("masks", {"seed": "0", "mask": "labels_saliency"}),
    ]:
        assert stage_runs.run(plan, stage, **names) is None
    masks = Reader("results/mine/seed-0/masks/labels_saliency.h5", "mask", "mine")
    for number, identifier in enumerate(IDS[:6]):
        true = label_of(number)
        assert (masks.read(identifier)["label"] == np.where(true % 255 > 0, true, 0)).all(), identifier


# configs/quick.yaml

STEPS = ["labels", "labels_saliency", "grabcut", "bana", "corrected"]
BESIDE = ["boxes", "box_crf", "eps"]  # what else suits a table of photographs
SHORT = 5 / 60  # hours of two cores


@pytest.mark.parametrize("system", [*STEPS, *BESIDE])
def test_every_block_of_the_ladder_is_short(system, tmp_path, monkeypatch):
    """150 photographs of the size that estimates are made for; by the planner's figures, on two cores."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    rows = [f"{number},{number}.jpg,cat;dog" for number in range(150)]
    Path("photos/photos.csv").write_text("\n".join(["id,image,labels", *rows]) + "\n")
    config = Config(read_settings([SOURCES / "configs/quick.yaml"]))
    estimates = Estimates(config, "mine")
    hours = {
        (stage, *names.values()): estimates.cost(stage, names).hours(2, 0) for stage, names in estimates.jobs(system)
    }
    assert sum(hours.values()) < SHORT, hours
    assert any(stage == "masks" for stage, *_ in hours)


def test_the_ladder_is_what_its_comment_says():
    text = (SOURCES / "configs/quick.yaml").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("# | ")]
    assert rows[1:] == STEPS
    assert list(itertools.chain(Config(read_settings([SOURCES / "configs/quick.yaml"])).dataset("mine").systems)) == [
        "labels_saliency"
    ]
