"""A user's own data through `index`, `truth` and `saliency`: values of masks, and the orientation of photographs."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import stage_runs
import yaml
from conftest import refused
from own_photographs import CAT, CSV, DOG, IDS, VOC, label_of, plan_of, write_photographs
from PIL import Image

from workflow_scripts.data.index import Images, read_index
from workflow_scripts.store.artifacts import Reader


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photographs()


def changed_masks(folder, change):
    for path in Path(folder).glob("*.png"):
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            label = np.array(image)
        Image.fromarray(change(label)).save(path)


def truth_of(plan):
    for stage in ("index", "truth"):
        assert stage_runs.run(plan, stage) is None
    truth = Reader("results/mine/truth.h5", "truth", "mine")
    return {name: truth.read(name)["label"] for name in truth.ids}


@pytest.mark.parametrize(
    ("data", "masks", "own", "told"),
    [
        (VOC, "VOC/SegmentationClassAug", {CAT: 1, DOG: 2}, "8 for cat, 12 for dog, as in PASCAL VOC"),
        (CSV, "masks", {1: CAT, 2: DOG}, "expected 1 for cat, 2 for dog; "),
    ],
    ids=["voc", "csv"],
)
def test_masks_with_values_of_their_own(data, masks, own, told):
    """Values that are not expected are refused, and the setting that the message names reads them."""
    before = truth_of(plan_of(data))
    Path("results/mine/truth.h5").unlink()
    changed_masks(masks, lambda label: np.vectorize(lambda value: own.get(value, value), [np.uint8])(label))
    message = stage_runs.refused(plan_of(data), "truth", told, faults=len(before))
    assert all("label id" in line and ".png" in line for line in message.splitlines()[1:])
    (advice,) = set(re.findall("`(mask_ids: .*?)`", message))
    ids = yaml.safe_load(advice)["mask_ids"]
    assert ids == {"cat": 1, "dog": 2}
    ids = ids if data is VOC else {"cat": CAT, "dog": DOG}
    after = truth_of(plan_of(data, mask_ids=ids))
    assert after.keys() == before.keys()
    for name, label in before.items():
        np.testing.assert_array_equal(after[name], label)


def test_white_on_black_can_be_a_class():
    changed_masks("masks", lambda label: np.where((label > 0) & (label < 255), 255, 0).astype(np.uint8))
    table = Path("table.csv")
    table.write_text(table.read_text().replace(",cat,", ",dog,").replace(" cat,", " dog,"))
    labels = truth_of(plan_of(CSV, classes=["dog"], mask_ids={"dog": 255}))
    for name, label in labels.items():
        np.testing.assert_array_equal(label, (label_of(IDS.index(name)) % 255 > 0).astype(np.uint8))


@pytest.mark.parametrize(
    "ids",
    [{"cat": 1}, {"cat": 1, "dog": 2, "cow": 3}, {"cat": 1, "dog": 1}, {"cat": 0, "dog": 1}, {"cat": 256, "dog": 1}],
)
def test_mask_ids_that_are_refused(ids):
    refused(lambda: plan_of(CSV, mask_ids=ids).config.dataset("mine"), "mask_ids")


def test_orientation_goes_through_the_first_stages():
    """Photographs on their side, with masks, boxes and saliency maps of what is shown; the log lists them."""
    for number, name in enumerate(IDS):
        path, flag = Path(f"VOC/JPEGImages/{name}.jpg"), 1 + number
        exif = Image.Exif()
        exif[0x0112] = flag
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            pixels = np.array(image)
        turned = pixels if flag < 5 else pixels.transpose(1, 0, 2)
        Image.fromarray(turned).save(path, exif=exif)
    plan = plan_of(CSV)
    labels = truth_of(plan)
    index = read_index("results/mine/index.h5")
    images = Images(index, None)
    for number, name in enumerate(IDS):
        assert images.read(name).shape[:2] == index.size_of(name) == (20, 30)
        if name in labels:
            np.testing.assert_array_equal(labels[name], label_of(number))
    assert stage_runs.run(plan, "saliency", saliency="supplied") is None
    Path("results/mine/index.h5").unlink()
    stored = plan_of(CSV, orientation="stored")
    assert stage_runs.run(stored, "index") is None
    index = read_index("results/mine/index.h5")
    assert [index.size_of(name) for name in IDS] == [(20, 30)] * 4 + [(30, 20)] * 4
    stage_runs.refused(stored, "truth", "30 x 20", "`orientation`", faults=4)
    stage_runs.refused(stored, "saliency", "30 x 20", "EXIF orientation", faults=4, saliency="supplied")
