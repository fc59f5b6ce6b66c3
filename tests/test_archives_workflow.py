"""VOC, SBD and COCO from archives to index and truth, by Snakemake: over HTTP on this machine, and from local copies."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import SOURCES, dry_run, run
from small_archives import (
    OTHERS,
    SBD,
    TRAIN,
    VAL,
    VOC,
    checksum,
    coco_files,
    sbd_files,
    sbd_label,
    served,
    voc_files,
    voc_label,
    write_tar,
    write_zip,
)

from workflow_scripts.data.index import read_index
from workflow_scripts.store.artifacts import Reader

CONFIG = str(SOURCES / "config.yaml")
TWO = {"classes": ["cat", "dog"], "systems": ["truth"]}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Archives of all data sets."""
    place = tmp_path / "archives"
    place.mkdir()
    write_tar(place / "voc.tar", voc_files())
    write_tar(place / "sbd.tgz", sbd_files(), "w:gz")
    images, annotations = coco_files()
    for split in ("train", "val"):
        write_zip(place / f"{split}2014.zip", {name: data for name, data in images.items() if split in name})
    write_zip(place / "annotations.zip", annotations)
    return place


def voc_change(place: Path, url: str | None = None) -> dict:
    """The archives where they are served, or as local copies; few images in place of the published ones."""

    def archive(name: str, algorithm: str) -> dict:
        where = {"url": f"{url}/{name}"} if url else {"path": str(place / name)}
        return {**where, "checksum": checksum(place / name, algorithm)}

    counts = {"train": {"count": 2}, "val": {"count": 2}, "train_aug": {"count": 5}, "thresholds": {"first": 1}}
    return {
        "archives": {"voc2012": archive("voc.tar", "sha256"), "sbd": archive("sbd.tgz", "md5")},
        "datasets": {"voc": {**TWO, "splits": counts}},
    }


def made(tmp_path: Path, change: dict, *targets: str, fails: bool = False) -> str:
    """Run Snakemake in a folder of its own; what it said."""
    overlay = tmp_path / "change.yaml"
    overlay.write_text(yaml.safe_dump(change))
    options = ["--directory", tmp_path / "run", "--show-failed-logs"]
    done = run(SOURCES, *targets, configfiles=[CONFIG, overlay], options=options)
    said = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, said[-4000:]
    return said


def planned(tmp_path: Path, *targets: str) -> set[str]:
    options = ["--directory", tmp_path / "run"]
    jobs = dry_run(SOURCES, *targets, configfiles=[CONFIG, tmp_path / "change.yaml"], options=options)
    return {rule for rule, _ in jobs}


INDEX_AND_TRUTH = ("results/voc/index.h5", "results/voc/truth.h5")


@pytest.mark.parametrize("fetched", [True, False], ids=["over HTTP", "local copies"])
def test_voc_and_sbd(tmp_path, folder, fetched):
    with served(folder) as url:
        made(tmp_path, voc_change(folder, url if fetched else None), *INDEX_AND_TRUTH)
    index = read_index(str(tmp_path / "run/results/voc/index.h5"))
    assert index.split("train") == TRAIN and index.split("val") == VAL
    assert index.split("train_aug") == [*TRAIN, *OTHERS]
    assert index.split("without_train") == OTHERS
    truth = Reader(tmp_path / "run/results/voc/truth.h5", "truth", "voc")
    to_classes = np.array([0, *[0] * 7, 1, *[0] * 3, 2, *[0] * 242, 255], np.uint8)
    numbers = {identifier: number for number, identifier in enumerate([*TRAIN, *VAL, *OTHERS])}
    assert set(truth.ids) == {*TRAIN, *VAL, *OTHERS}
    for identifier, number in numbers.items():  # VOC's own mask wins over SBD's
        drawn = (sbd_label if identifier in OTHERS else voc_label)(number)
        np.testing.assert_array_equal(truth.read(identifier)["label"], to_classes[drawn])
    unpacked = tmp_path / "run/data/unpacked"
    assert {path.name for path in unpacked.iterdir() if path.suffix != ".json"} == {"voc2012", "sbd"}
    assert (
        not (unpacked / "voc2012" / VOC / "ImageSets/Main").exists() and not (unpacked / "sbd" / SBD / "img").exists()
    )
    assert (tmp_path / "run/data/archives/voc2012").exists() == fetched

    # Nothing is stale now; a touched file neither; a replaced one is, until its old content is back
    assert planned(tmp_path, *INDEX_AND_TRUTH) == set()
    picture = unpacked / "voc2012" / VOC / "JPEGImages/s1.jpg"
    before = picture.read_bytes()
    picture.write_bytes(before)
    assert planned(tmp_path, *INDEX_AND_TRUTH) == set()
    picture.write_bytes((unpacked / "voc2012" / VOC / "JPEGImages/s2.jpg").read_bytes())
    assert planned(tmp_path, *INDEX_AND_TRUTH) == {"index", "truth"}
    picture.write_bytes(before)
    mask = unpacked / "sbd" / SBD / "cls/s1.mat"
    before = mask.read_bytes()
    mask.write_bytes((unpacked / "sbd" / SBD / "cls/s2.mat").read_bytes())
    assert planned(tmp_path, *INDEX_AND_TRUTH) == {"truth"}
    mask.write_bytes(before)
    assert planned(tmp_path, *INDEX_AND_TRUTH) == set()
    if fetched:  # archives may be thrown away
        (tmp_path / "run/data/archives/voc2012").unlink()
        assert planned(tmp_path, *INDEX_AND_TRUTH) == set()


def test_what_is_wrong_is_said_in_one_line(tmp_path, folder):
    change = voc_change(folder)
    change["archives"]["sbd"]["checksum"] = "md5:" + "0" * 32
    said = made(tmp_path, change, "results/voc/index.h5", fails=True)
    (line,) = {line.strip() for line in said.splitlines() if line.strip().startswith("error: ")}
    assert f"{folder / 'sbd.tgz'}: has md5 {checksum(folder / 'sbd.tgz', 'md5')[4:]}, expected 000" in line
    assert "Traceback" not in said
    assert not (tmp_path / "run/results/voc/index.h5").exists()
    assert not list((tmp_path / "run/data/unpacked").glob("sbd*"))


def test_an_archive_without_checksum_is_fetched_once_and_then_pinned(tmp_path, folder):
    with served(folder) as url:
        change = voc_change(folder, url)
        change["archives"]["voc2012"]["checksum"] = None
        said = made(tmp_path, change, "data/archives/voc2012", fails=True)
    right = checksum(folder / "voc.tar")
    assert f"set archives.voc2012.checksum to {right} and run again" in said
    assert not (tmp_path / "run/data/archives/voc2012").exists()
    change["archives"]["voc2012"]["checksum"] = right
    made(tmp_path, change, "data/archives/voc2012")  # the server is gone: nothing is fetched again
    kept = tmp_path / "run/data/archives/voc2012"
    assert kept.read_bytes() == (folder / "voc.tar").read_bytes()
    assert not list(kept.parent.glob(".*"))


def test_coco_from_zips_to_truth(tmp_path, folder):
    archives = {
        "coco2014_train": {"path": str(folder / "train2014.zip"), "checksum": checksum(folder / "train2014.zip")},
        "coco2014_val": {"path": str(folder / "val2014.zip"), "checksum": checksum(folder / "val2014.zip")},
        "coco2014_annotations": {
            "path": str(folder / "annotations.zip"),
            "checksum": checksum(folder / "annotations.zip"),
        },
    }
    splits = {"train": {"count": 3}, "val": {"count": 2}, "thresholds": {"first": 1}}
    change = {"archives": archives, "datasets": {"coco": {**TWO, "splits": splits}}}
    targets = ("results/coco/index.h5", "results/coco/truth.h5")
    made(tmp_path, change, *targets)
    index = read_index(str(tmp_path / "run/results/coco/index.h5"))
    assert index.split("train") == [f"COCO_train2014_{number:012}" for number in range(3)]  # the fourth has no object
    assert index.split("val") == [f"COCO_val2014_{number:012}" for number in range(2)]
    assert index.boxes_of("COCO_val2014_000000000001").tolist() == [[4, 5, 14, 13, 1]]
    truth = Reader(tmp_path / "run/results/coco/truth.h5", "truth", "coco")
    label = truth.read("COCO_val2014_000000000001")["label"]
    expected = np.zeros((20, 30), np.uint8)
    expected[5:13, 4:14] = 2
    np.testing.assert_array_equal(label, expected)
    assert planned(tmp_path, *targets) == set()
    unpacked = tmp_path / "run/data/unpacked"
    assert not (unpacked / "coco2014_annotations/annotations/captions_train2014.json").exists()
    picture = unpacked / "coco2014_val/val2014/COCO_val2014_000000000000.jpg"
    picture.write_bytes((picture.parent / "COCO_val2014_000000000001.jpg").read_bytes())
    assert planned(tmp_path, *targets) == {"index", "truth"}
