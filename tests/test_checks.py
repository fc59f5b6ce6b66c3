"""Data checks: what is suspicious in a data set is counted, told once and shown, and never stops a run; what contradicts itself does."""

import ast
import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import SOURCES
from hypothesis import given
from hypothesis import strategies as st
from own_photographs import COMMON, CSV, VOC, label_of, plan_of, write_photographs
from PIL import Image
from stage_runs import refused, run

from workflow_scripts.base.errors import UserError
from workflow_scripts.commands import check
from workflow_scripts.commands.contents import faults as wrong_with
from workflow_scripts.config.resolve import merge
from workflow_scripts.data.checks import CHECKS, read_findings, summary, write_findings
from workflow_scripts.data.index_entries import AT_ONCE, Entry, Faults, Finding, gather
from workflow_scripts.data.suspicions import MaskChecks, suspect_entries
from workflow_scripts.data.transforms import as_tensor
from workflow_scripts.look.pictures import PALETTE


def test_each_check_says_what_it_means_and_what_to_do():
    for one in CHECKS.values():
        assert one.meaning.endswith(".")
        assert one.advice.endswith(".")


def test_a_line_a_check_with_the_number_of_ids_and_the_first_of_them():
    found = Faults()
    for number in range(7):
        found.suspect("orientation", f"p{number}", "6")
    found.suspect("ignored_column", "notes")
    found.suspect("orientation", "p0", "6")  # counts once
    first, second = summary(found.findings)
    assert first.startswith("suspicious: orientation (7): p0 (6), p1 (6), p2 (6), p3 (6), p4 (6) and 2 more. The photo")
    assert second.startswith("suspicious: ignored_column (1): notes. The table")
    assert found.messages == ()
    found.raise_if_any("nothing")


def test_findings_of_many_threads_come_in_the_order_of_the_images():
    faults = Faults()
    items = list(range(2 * AT_ONCE + 1))
    gather(lambda item, own: own.suspect("orientation", str(item)), items, faults, None)
    assert [finding.identifier for finding in faults.findings] == [str(item) for item in items]


@given(st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_mirrored_arrays_of_any_size_become_tensors(height, width, colours):
    """Numpy takes a mirrored array one pixel wide for contiguous, and torch refuses it."""
    array = np.arange(height * width * (3 if colours else 1), dtype=np.uint8)
    array = array.reshape((height, width, 3) if colours else (height, width))
    assert as_tensor(array[:, ::-1]).numpy().tolist() == array[:, ::-1].tolist()


# --- a whole list of images -------------------------------------------------------------------------------------------


def entry(identifier: str, digest: str, labels=(0,), size=(40, 30), boxes=()) -> Entry:
    return Entry(identifier, "", *size, digest, tuple(labels), np.array(boxes, np.float32).reshape(-1, 5))


def found_in(entries, splits, classes=("cat", "dog")) -> list[Finding]:
    faults = Faults()
    suspect_entries(entries, splits, classes, faults)
    assert not faults.messages
    return list(faults.findings)


LABELS = st.lists(st.sets(st.integers(0, 2)), min_size=1, max_size=7)


@given(LABELS, st.data())
def test_classes_that_every_image_of_a_split_shows_or_none(labels, data):
    """As counted one by one; a class that one image alone has is in every one of them, and no news."""
    ids = [f"p{number}" for number in range(len(labels))]
    entries = [entry(name, name, sorted(chosen)) for name, chosen in zip(ids, labels, strict=True)]
    part = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
    found = found_in(entries, {"all": ids, "part": part}, ("a", "b", "c"))
    by_id = dict(zip(ids, labels, strict=True))
    expected = set()
    for split, chosen in (("all", ids), ("part", part)):
        for number, name in enumerate("abc"):
            shown = [number in by_id[identifier] for identifier in chosen]
            if not any(shown):
                expected.add(("class_without_image", name, split))
            if all(shown) and len(shown) > 1:
                expected.add(("class_everywhere", name, split))
    assert {(check, name, detail.split()[-1]) for check, name, detail in found} == expected


@given(st.lists(st.integers(0, 3), min_size=2, max_size=8), st.data())
def test_copies_are_found_and_those_in_other_splits_are_told_apart(contents, data):
    ids = [f"p{number}" for number in range(len(contents))]
    train = data.draw(st.sets(st.sampled_from(ids)))
    entries = [entry(name, str(content), (0, 1)) for name, content in zip(ids, contents, strict=True)]
    splits = {"train": [name for name in ids if name in train], "val": [name for name in ids if name not in train]}
    found = [item for item in found_in(entries, splits) if item.check.startswith("copy")]
    expected = {}
    for content in set(contents):
        same = [name for name, value in zip(ids, contents, strict=True) if value == content]
        leaks = 0 < len(train.intersection(same)) < len(same)
        if len(same) > 1:
            expected |= dict.fromkeys(same, "copy_across_splits" if leaks else "copy")
    assert {item.identifier: item.check for item in found} == expected
    for item in found:
        assert f"in {'train' if item.identifier in train else 'val'}" in item.detail


def test_a_picture_that_was_saved_again_is_a_copy():
    saved = (("p0", "x"), ("p1", "x"), ("p2", "y"))
    entries = [replace(entry(name, name, (0, 1)), pixels=pixels) for name, pixels in saved]
    found = found_in(entries, {"train": ["p0", "p2"], "val": ["p1"]})
    assert {item[:2] for item in found if "copy" in item.check} == {
        ("copy_across_splits", name) for name in ("p0", "p1")
    }


def test_tiny_images_and_objects():
    """An image of 8 pixels and an object of 16 are large enough."""
    boxes = [[0, 0, 4, 4, 0], [0, 0, 5, 3, 1]]
    entries = [entry("p0", "0", size=(8, 8), boxes=boxes[:1]), entry("p1", "1", size=(7, 90), boxes=boxes)]
    found = [item[:2] for item in found_in(entries, {}) if item.check in ("tiny_image", "few_pixels")]
    assert found == [("tiny_image", "p1"), ("few_pixels", "p1")]


# --- masks beside labels ----------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.sets(st.integers(0, 2)), st.sets(st.sampled_from([0, 1, 2, 254]))), min_size=1, max_size=9)
)
def test_masks_against_labels(images):
    """What differs is suspicious; where most masks have other classes, or none of those labelled, they mean something else."""
    faults, expected, wrong, only_void, telling = Faults(), set(), 0, 0, 0
    checks = MaskChecks(("a", "b", "c"), faults)
    for number, (labelled, drawn) in enumerate(images):
        label = np.zeros((8, 40), np.uint8)
        for place, value in enumerate(sorted(drawn)):
            label[:, 8 * place : 8 * place + 8] = value + 1
        checks.add(f"p{number}", label, sorted(labelled))
        drawn, void = drawn - {254}, 254 in drawn
        white = ", the mask has 255 alone, which is ignored" if void and not drawn else ""
        expected |= {("label_without_pixel", f"p{number}", "abc"[one] + white) for one in labelled - drawn}
        expected |= {("pixels_without_label", f"p{number}", "abc"[one]) for one in drawn - labelled}
        contradicts = bool(drawn - labelled) or bool(labelled) and not drawn & labelled
        wrong += contradicts
        telling += bool(drawn or labelled)  # negatives without a pixel say nothing about the values
        only_void += contradicts and not drawn and void
    checks.end("mine")
    assert set(faults.findings) == expected
    assert len(faults.messages) == (wrong > telling / 2)
    for message in faults.messages:
        assert f"of {telling} masks" in message
        assert ("255 is void" in message) == (only_void > wrong / 2)


def test_few_pixels_of_a_class_in_a_mask():
    faults, label = Faults(), np.zeros((9, 9), np.uint8)
    label[:4, :4], label[8] = 1, 2
    MaskChecks(("cat", "dog"), faults).add("p0", label, [0, 1])
    assert faults.findings == (Finding("few_pixels", "p0", "dog in the mask, 9"),)


# --- stages and the command -------------------------------------------------------------------------------------------


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photographs()
    return tmp_path


def listed(plan) -> dict[str, dict[str, str]]:
    """The rows of checks.csv by check, after all stages that it is made from."""
    for stage in ("index", "truth", "checks"):
        assert run(plan, stage) is None
    with open("results/mine/checks.csv", newline="") as file:
        return {row["check"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("data", [VOC, CSV], ids=lambda data: data["kind"])
def test_nothing_is_suspicious_in_a_sound_data_set(photographs, data):
    assert not set(listed(plan_of(data))) - {"size_missing"}
    assert not list(wrong_with("results/mine/checks.csv", "checks", "checks", {}, None))


@pytest.mark.parametrize("data", [VOC, CSV], ids=lambda data: data["kind"])
def test_what_is_suspicious_is_listed_once_and_shown(photographs, data):
    """A black mask, one of the other class, and a picture that is trained on and scored under another name."""
    folder = {"voc": "VOC/SegmentationClassAug", "csv": "masks"}[data["kind"]]
    Image.fromarray(np.zeros_like(label_of(0))).save(f"{folder}/photo_1.png")
    shutil.copy(f"{folder}/photo_2.png", f"{folder}/photo_3.png")
    shutil.copy("VOC/JPEGImages/photo_4.jpg", "VOC/JPEGImages/photo_7.jpg")
    plan = plan_of(data)
    rows = listed(plan)
    rows.pop("size_missing", None)
    told = {name: (row["count"], row["first"]) for name, row in rows.items()}
    assert told == {
        "copy_across_splits": ("2", "photo_4 (as photo_7, in all), photo_7 (as photo_4, in val)"),
        "label_without_pixel": ("2", "photo_1 (dog), photo_3 (dog)"),
        "pixels_without_label": ("1", "photo_3 (cat)"),
    }
    sheet = np.asarray(Image.open("results/mine/checks.png"))
    assert sheet.shape[0] > 5 * 180 and all((sheet == colour).all(axis=2).sum() > 200 for colour in PALETTE[1:3])
    before = Path("results/mine/index.h5").read_bytes()
    shutil.copy("VOC/JPEGImages/photo_5.jpg", "VOC/JPEGImages/photo_7.jpg")
    assert run(plan_of(data), "index") is None and Path("results/mine/index.h5").read_bytes() != before
    for name, path in plan.outputs("index", {"dataset": "mine"}).items():
        assert not list(wrong_with(path, "index", name, {"dataset": "mine", "classes": ["cat", "dog"]}, None))


def test_an_image_that_is_trained_on_and_scored(photographs):
    rows = listed(plan_of(CSV, use={"evaluation": ["val", "held_out"]}))
    assert rows["trained_and_scored"]["count"] == "2"


def test_masks_that_mean_something_else_are_refused(photographs):
    """The classes the other way round: every mask has the class that is not labelled."""
    plan = plan_of(CSV, classes=["dog", "cat"])
    assert run(plan, "index") is None
    refused(plan, "truth", "masks contradict the labels", "photo_0", "put `classes` in the order", faults=1)


def test_masks_of_0_and_255_are_refused(photographs):
    for path in Path("masks").iterdir():
        Image.fromarray(np.where(np.array(Image.open(path)) > 0, 255, 0).astype(np.uint8)).save(path)
    plan = plan_of(CSV)
    assert run(plan, "index") is None
    refused(plan, "truth", "photo_0", "255 is void", "1 for cat, 2 for dog", faults=1)


def test_checks_are_those_that_the_sources_name():
    """`suspect` takes any name, so that the words that are said of it change no artifact's code."""
    named = set()
    for path in (SOURCES / "workflow_scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None))
            if called in ("suspect", "Finding") and node.args and isinstance(node.args[0], ast.Constant):
                named.add(node.args[0].value)
    assert {"orientation", "box_clipped"} <= set(CHECKS)
    assert named | {"copy", "copy_across_splits"} == set(CHECKS)


def test_findings_are_read_as_they_were_written(tmp_path):
    findings = [Finding("copy", 'a "b", c', "as d\ne"), Finding("orientation", "é")]
    write_findings(str(tmp_path / "f.csv"), findings)
    assert read_findings(str(tmp_path / "f.csv")) == findings


def test_the_command_tells_a_wrong_data_set_before_anything_runs(photographs, capsys):
    Path("mine.yaml").write_text(yaml.safe_dump({"datasets": {"mine": merge(COMMON, CSV) | {"table": "t.csv"}}}))
    with pytest.raises(UserError, match=re.escape("no data set 'min', did you mean 'mine'?")):
        check.main(["results/min", "--configfile", "mine.yaml"])


def test_every_check_is_in_the_documentation():
    text = (SOURCES / "docs" / "data.md").read_text(encoding="utf-8")
    assert not [name for name in CHECKS if f"`{name}`" not in text]


def test_white_masks_of_one_class_are_read_as_the_message_says(photographs):
    """The advice is followed to the letter."""
    for path in Path("masks").iterdir():
        Image.fromarray(np.where(np.array(Image.open(path)) % 255 > 0, 255, 0).astype(np.uint8)).save(path)
    Path("table.csv").write_text(Path("table.csv").read_text().replace("dog", "cat"))
    plan = plan_of(CSV, classes=["cat"])
    assert run(plan, "index") is None
    message = refused(plan, "truth", "255 is void", faults=1)
    advice = yaml.safe_load(re.search(r"`(mask_ids: .*)`", message)[1])
    assert run(plan_of(CSV, classes=["cat"], **advice), "truth") is None


def test_the_command_runs_what_it_needs_and_tells_it_once(photographs, capfd):
    shutil.copy("VOC/JPEGImages/photo_4.jpg", "VOC/JPEGImages/photo_7.jpg")
    Path("mine.yaml").write_text(yaml.safe_dump({"datasets": {"mine": dict(merge(COMMON, CSV))}}))
    check.main(["results/mine", "--cores", "1", "--configfile", "mine.yaml"])
    told = capfd.readouterr().out.splitlines()
    assert sum(line.startswith("suspicious: copy_across_splits (2): photo_4 (as photo_7") for line in told) == 1
    assert told[-1] == "Listed in results/mine/checks.csv, shown in results/mine/checks.png"
    assert "suspicious: copy_across_splits (2)" in Path("logs/mine/index.log").read_text()
    assert Path("results/mine/checks.png").exists() and not Path("results/mine/miou.csv").exists()
    Path("table.csv").write_text(Path("table.csv").read_text().replace("dog", "cow", 1))
    assert check.main(["results/mine", "--cores", "1", "--configfile", "mine.yaml"]) == 1
    assert "label 'cow' is unknown" in capfd.readouterr().err


def test_words_of_checks_are_in_no_artifact(photographs, monkeypatch):
    """So they are not among the code that makes artifacts stale."""
    Image.fromarray(np.zeros_like(label_of(0))).save("masks/photo_1.png")

    def written() -> dict[Path, bytes]:
        assert listed(plan_of(CSV))
        return {
            path: path.read_bytes() for path in Path("results").rglob("*") if path.suffix in (".h5", ".csv", ".png")
        }

    before = written()
    for name, one in CHECKS.items():
        monkeypatch.setitem(CHECKS, name, one._replace(meaning="Other.", advice="Words."))
    assert len(before) == 6 and written() == before
