"""A class may have any name, and a data set up to 254 of them: tables, pictures and label maps keep their meaning."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import refused
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from own_photographs import CSV, plan_of, write_photographs
from PIL import Image
from stage_runs import run

from workflow_scripts.commands.contents import faults
from workflow_scripts.commands.show import show
from workflow_scripts.config.families import union
from workflow_scripts.config.typed import typed
from workflow_scripts.data.readers.labelmap import label_of
from workflow_scripts.evaluation.mask_ap import MEASURES
from workflow_scripts.look.chart_plots import class_bars
from workflow_scripts.look.pictures import Block, Row, montage
from workflow_scripts.look.plots import violins
from workflow_scripts.look.schemas import SCHEMAS
from workflow_scripts.stages import charts, mask_ap, miou

# All that the tables call their own columns, what readers take for something else, and what drawing takes for a formula.
HARD = (
    "system stage prediction split images seeds threshold threshold_from miou miou_std published source background mean "
    "network instances ap ap_std published_ap all truth NA null nan iou.cat ap.cat class _ _hidden $x^$ a_b^c \\frac{ % , \" ' "
    "void ignored 0 1 -1 1e5 Unnamed:0 é 猫 <b> {0} cat"
).split()
NAMES = st.one_of(
    st.sampled_from(HARD),
    st.text(st.characters(blacklist_categories=("C", "Z")), min_size=1, max_size=9).filter(str.isprintable),
)
CLASSES = st.lists(NAMES, min_size=1, max_size=6, unique=True).map(tuple)
QUIET = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def table_of(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert len(set(header)) == len(header)
    return [dict(zip(header, row, strict=True)) for row in rows]


def confusion_of(classes: int) -> np.ndarray:
    """Of a mask that finds a part of each label, another part for each; the last column is what it leaves out."""
    labels = classes + 1
    confusion = np.hstack([np.diag(np.arange(10, 10 + labels)), np.ones((labels, 1), int)])
    confusion[0, :labels] += 3
    return confusion


def scored(folder, classes: tuple[str, ...]) -> list[dict[str, str]]:
    """The table of mIoU of one system, whose last class does not occur."""
    confusion = confusion_of(len(classes))
    confusion[-1] = 0
    split = {"images": 3, "confusion": confusion.tolist(), "by_labels": {}, "by_size": {}}
    (folder / "scores.json").write_text(json.dumps({"splits": {"val": split}, "threshold": 0.25}))
    row = {"system": "NA", "stage": "mask", "split": "val", "scores": [str(folder / "scores.json")], "published": []}
    options = {"classes": list(classes), "rows": [SimpleNamespace(**row)], "inputs": []}
    outputs = {name: str(folder / f"{name}.csv") for name in ("miou", "groups", "inputs")}
    miou.main(
        SimpleNamespace(
            settings=SimpleNamespace(**options),
            inputs=SimpleNamespace(scores=row["scores"]),
            outputs=SimpleNamespace(**outputs),
        )
    )
    return table_of(folder / "miou.csv")


@QUIET
@given(CLASSES)
@example(tuple(HARD))
def test_columns_of_the_table_keep_their_meaning_whatever_the_classes_are_called(tmp_path, classes):
    plain = tuple(f"c{number}" for number in range(len(classes)))
    (expected,), (found,) = scored(tmp_path, plain), scored(tmp_path, classes)
    assert not list(faults(str(tmp_path / "miou.csv"), "miou", "miou", {"classes": classes}, None))
    for number, (name, neutral) in enumerate(zip(classes, plain, strict=True), start=1):
        cell = found.pop(f"iou.{name}")
        assert cell == expected.pop(f"iou.{neutral}")
        assert cell == "" if number == len(classes) else float(cell) > 0
    assert found == expected
    assert found["images"] == "3" and found["seeds"] == "1" and found["threshold"] == "0.25"
    assert show(tmp_path / "miou.csv").split()[:2] == ["system", "stage"] and "NA" in show(tmp_path / "miou.csv")


@QUIET
@given(CLASSES)
@example(tuple(HARD))
def test_columns_of_the_table_of_instances_keep_their_meaning(tmp_path, classes):
    by_class = {name: dict.fromkeys(MEASURES, 0.01 * number) for number, name in enumerate(classes, start=1)}
    split = {"images": 3, "instances": 7, "classes": by_class}
    (tmp_path / "scores.json").write_text(json.dumps({"splits": {"val": split}}))
    row = {"system": "x", "stage": "detections", "network": None, "split": "val", "published": []}
    row = SimpleNamespace(**row, scores=[str(tmp_path / "scores.json")])
    options = SimpleNamespace(classes=list(classes), rows=[row])
    mask_ap.main(SimpleNamespace(settings=options, outputs=SimpleNamespace(mask_ap=str(tmp_path / "ap.csv"))))
    (found,) = table_of(tmp_path / "ap.csv")
    for number, name in enumerate(classes, start=1):
        assert float(found.pop(f"ap.{name}")) == number
    mean = (len(classes) + 1) / 2
    assert [float(found[name]) for name in MEASURES] == pytest.approx([mean] * len(MEASURES), abs=0.006)
    assert found["images"] == "3" and found["instances"] == "7" and found["ap_std"] == ""


def test_each_class_has_its_own_panel_beside_those_of_the_mean_and_the_background(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(charts, "class_bars", lambda values, measure: drawn.extend(values) or b"")
    monkeypatch.setattr(charts, "stage_lines", lambda *values: b"")
    classes = ("miou", "mean", "background", "system")
    (row,) = scored(tmp_path, (*classes, "never"))
    outputs = SimpleNamespace(classes=str(tmp_path / "classes.png"), stages=str(tmp_path / "stages.png"))
    options = SimpleNamespace(classes=[*classes, "never"])
    inputs = SimpleNamespace(miou=str(tmp_path / "miou.csv"))
    charts.main(SimpleNamespace(settings=options, inputs=inputs, outputs=outputs))
    assert [title for title, _ in drawn] == ["mean", "background", *classes]
    assert [found["NA"] for _, found in drawn] == [
        float(row[column]) for column in ("miou", "background", *(f"iou.{name}" for name in classes))
    ]


@pytest.mark.filterwarnings("ignore:Glyph")  # the font of the pictures has not every script, and says so
def test_every_picture_takes_every_name():
    signs = [name for name in HARD if not name.isalnum()]
    assert class_bars([(name, {"boxes": 50.0}) for name in signs], "IoU, %").startswith(b"\x89PNG")
    assert violins({name: {name: [0.1, 0.5]} for name in ("$x^$", "\\frac{", "_hidden", "猫")}, "share").startswith(
        b"\x89PNG"
    )
    assert "$x^$" in signs and "\\frac{" in signs
    image, label = np.zeros((8, 8, 3), np.uint8), np.arange(64, dtype=np.uint8).reshape(8, 8) % (len(HARD) + 1)
    cell = SCHEMAS["truth"].cells({"label": label}, image, HARD)[0]
    assert montage("a", [Block("b", ["c"], [Row(HARD[:3], [cell])])], HARD).height > 100
    maps = {"classes": np.array([0, 1]), "scores": np.ones((2, 4, 4)), "background": np.ones((4, 4))}
    assert len(SCHEMAS["cam"].cells(maps, image, ("learnt background", "b"))) == 3


def dataset(kind: str, classes: list[str]):
    block = {"kind": kind, "classes": classes, "splits": {"all": {"ids": ""}}, "seeds": [0], "systems": []}
    block |= {"use": {"train": "all", "masks": "all", "evaluation": ["all"]}, "torch_threads": 1, "workers": 1}
    block |= {"gpus": 0, "threshold": 0.2, "montage": 2}
    block |= {"table": "t.csv"} if kind == "csv" else {"root": "r", "images": "i", "annotations": "a"}
    return typed(union("datasets"), block, "datasets.mine")


@given(st.integers(0, 600))
@example(254)
@example(255)
def test_at_most_254_classes_as_a_label_map_has_8_bits(count):
    classes = [f"c{number}" for number in range(count)]
    if 1 <= count <= 254:
        assert dataset("csv", classes).classes == tuple(classes)
        return
    message = refused(lambda: dataset("csv", classes), "datasets.mine.classes", f"{count} classes", "254")
    assert len(message) < 300


@pytest.mark.parametrize("name", ["", " cat", "cat ", "a\nb", "a\tb"])
def test_names_that_no_label_could_ever_equal_are_refused(name):
    refused(lambda: dataset("voc", ["dog", name]), "datasets.mine.classes", "rename")


@pytest.mark.parametrize("name", ["-", "a;b"])
def test_names_that_a_cell_cannot_hold_are_refused_for_a_table_alone(name):
    refused(lambda: dataset("csv", ["dog", name]), "classes", repr(name), "rename")
    assert dataset("voc", ["dog", name]).classes == ("dog", name)


def test_a_class_that_labelmap_gives_another_label_is_no_silent_background():
    assert label_of("background", ("cat",)) == 0 and label_of("cat", ("cat",)) == 1
    for name in ("background", "ignored"):
        refused(lambda name=name: label_of(name, ("cat", name)), name, "rename")


def test_the_last_of_254_classes_goes_through_every_stage(tmp_path, monkeypatch):
    """Its label is 254, beside 255 for what is ignored."""
    monkeypatch.chdir(tmp_path)
    write_photographs()
    classes = [f"c{number}" for number in range(252)]
    for path in Path("masks").iterdir():
        label = np.array(Image.open(path))
        Image.fromarray(np.where(label % 255 > 0, label + 252, label).astype(np.uint8)).save(path)
    overrides = {"systems": {"boxes": {"segmenter": None, "predictions": []}}}
    plan = plan_of(CSV, classes=[*classes, "cat", "dog"], systems=["boxes"], overrides=overrides)
    for stage, names in plan.jobs("mine"):
        if stage not in ("charts", "filling_rates"):  # 254 panels take long
            assert run(plan, stage, **names) is None
    first, *_ = table_of("results/mine/miou.csv")
    assert first["system"] == "boxes" and first["iou.c0"] == "" and float(first["iou.cat"]) == float(first["iou.dog"])
    assert float(first["iou.dog"]) > 90
