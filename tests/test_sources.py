"""Digests of the user's own files: whatever file a reader reads, its content counts."""

import json
import os
import re
from pathlib import Path

import pytest
from own_photographs import CSV, HEIGHT, IDS, VOC, WIDTH, plan_of, write_photographs
from PIL import Image

from workflow_scripts.config.planning import sources
from workflow_scripts.data.kinds.csv import read_csv, read_mask_paths
from workflow_scripts.data.kinds.voc import read_voc

CLASSES = ["cat", "dog"]
HEADER = "id,image,labels,mask,boxes,split"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_photographs()
    return tmp_path


@pytest.fixture(scope="module")
def voc():
    return plan_of(VOC).config.dataset("mine")


@pytest.fixture(scope="module")
def table():
    return plan_of(CSV).config.dataset("mine")


def digest(dataset, what: str) -> str:
    return sources.digest("mine", dataset, what)


def redrawn(path: str | Path) -> None:
    """Another picture under the same name."""
    assert Path(path).is_file()
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(path)


def rename(old: str, new: str) -> None:
    """Give an image of the VOC tree another id."""
    for path in Path("VOC").glob(f"*/{old}.*"):
        path.rename(path.with_name(new + path.suffix))
    lines = Path("VOC/train.txt").read_text().splitlines()
    Path("VOC/train.txt").write_text("\n".join(new if line == old else line for line in lines))


TABLES = {
    "as it is": lambda text: text.encode(),
    "spaces in the header": lambda text: text.replace(HEADER, HEADER.replace(",", ", ")).encode(),
    "byte order mark before the images": lambda text: re.sub(r"(?m)^(\w+),([^,]+)", r"\2,\1", text).encode("utf-8-sig"),
    "spaces around cells and ends of lines of another system": lambda text: (
        text.replace(",", " , ").replace("\n", "\r\n").encode()
    ),
    "an empty line and a row too short": lambda text: f"{text}\n ,,\nlast,VOC\n".encode(),
}


@pytest.mark.parametrize("written", TABLES.values(), ids=TABLES)
def test_a_replaced_file_of_a_table(table, written):
    Path("table.csv").write_bytes(written(Path("table.csv").read_text()))
    images, truth = digest(table, "images"), digest(table, "truth")
    redrawn(f"VOC/JPEGImages/{IDS[0]}.jpg")
    assert digest(table, "images") != images and digest(table, "truth") == truth
    redrawn(f"masks/{IDS[7]}.png")
    assert digest(table, "truth") != truth


@pytest.mark.parametrize("identifier", ["photo_x", "holiday.2021_01", "my cat 1"])
def test_a_replaced_file_of_a_list(voc, identifier):
    rename(IDS[0], identifier)
    before = digest(voc, "images")
    redrawn(f"VOC/JPEGImages/{identifier}.jpg")
    after = digest(voc, "images")
    assert after != before
    Path(f"VOC/Annotations/{identifier}.xml").write_text("<annotation/>")
    assert digest(voc, "images") != after
    truth = digest(voc, "truth")
    redrawn(f"VOC/SegmentationClassAug/{identifier}.png")
    assert digest(voc, "truth") != truth


def test_a_list_of_paths_and_a_byte_order_mark(voc):
    lines = [f"/JPEGImages/{identifier}.jpg /SegmentationClassAug/{identifier}.png" for identifier in IDS[:6]]
    Path("VOC/train.txt").write_text("\r\n".join(lines), encoding="utf-8-sig")
    before = digest(voc, "images")
    redrawn(f"VOC/JPEGImages/{IDS[0]}.jpg")
    assert digest(voc, "images") != before


def test_the_readers_read_nothing_else(voc, table):
    """The files that are digested are those that the readers give."""
    rename(IDS[0], "my cat.1")
    splits = {"all": "train.txt", "val": "val.txt"}
    _, entries = read_voc(Path("VOC"), CLASSES, splits)
    digested = {str(path) for path in voc.paths("images") if str(path).endswith(".jpg")}
    assert digested == {entry.image for entry in entries}

    write = Path("table.csv").read_text().replace(IDS[0] + ".jpg", "my cat.1.jpg").replace(HEADER, f"{HEADER} ")
    Path("table.csv").write_text(write, encoding="utf-8-sig")
    _, entries = read_csv(Path("table.csv"), CLASSES, {"all": "train", "val": "val"})
    digested = {str(path) for path in table.paths("images")}
    assert digested == {"table.csv", *(entry.image for entry in entries)}
    masks = read_mask_paths(Path("table.csv")).values()
    assert set(table.paths("truth")) == {Path("table.csv"), *masks}


def test_data_sets_with_and_without_truth(voc, table):
    assert plan_of(VOC).config.dataset("demo").has_truth()
    assert voc.has_truth() and not voc.model_copy(update={"masks": None}).has_truth()
    assert table.has_truth()
    lines = Path("table.csv").read_text().splitlines()
    Path("table.csv").write_text("\n".join(re.sub("masks/[^,]*", " ", line) for line in lines))
    assert not table.has_truth()
    Path("table.csv").write_text("\n".join(",".join(line.split(",")[:3]) for line in lines))
    assert not table.has_truth()
    Path("table.csv").unlink()
    assert not table.has_truth()


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b'id,image,labels\n"open', b"a\0b\n", b""])
def test_what_cannot_be_read_has_a_digest_too(voc, table, content):
    """Planning goes on: the stage that reads the file says what is wrong with it."""
    for path in ("VOC/train.txt", "table.csv"):
        Path(path).unlink() if content is None else Path(path).write_bytes(content)
    for dataset in (voc, table):
        assert len(digest(dataset, "images")) == len(digest(dataset, "truth")) == 32


@pytest.mark.parametrize("value", ["\ud800", "0", 3])
def test_a_digest_that_is_none_is_made_again(tmp_path, monkeypatch, value):
    """What is kept between runs is only believed where it can be one."""
    monkeypatch.chdir(tmp_path)
    photo, kept = tmp_path / "a.jpg", tmp_path / "results/mine/.sources.json"
    photo.write_bytes(b"pixels")
    expected = sources.digest_of("mine", [str(photo)])
    ((path, entry),) = json.loads(kept.read_text()).items()
    kept.write_text(json.dumps({path: [*entry[:2], value]}))
    assert sources.digest_of("mine", [str(photo)]) == expected


def test_another_file_as_large_has_another_digest(tmp_path, monkeypatch):
    """Its time tells it from the one before; a touched file is read again and has its digest."""
    monkeypatch.chdir(tmp_path)
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"one")
    os.utime(photo, ns=(1, 1))
    before = sources.digest_of("mine", [str(photo)])
    photo.write_bytes(b"two")
    os.utime(photo, ns=(2, 2))
    after = sources.digest_of("mine", [str(photo)])
    assert after != before
    os.utime(photo, ns=(3, 3))
    assert sources.digest_of("mine", [str(photo)]) == after


def test_names_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.jpg"):
        Path(name).write_bytes(b"the same")
    assert sources.digest_of("mine", ["a.jpg"]) != sources.digest_of("mine", ["b.jpg"])
