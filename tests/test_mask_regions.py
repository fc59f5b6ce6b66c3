"""Corrected masks in a JSON: Label Studio's strokes bit by bit, its tasks, COCO's regions; what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from small_images import one_fault

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index import Index, read_index, write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.data.readers import brush_runs
from workflow_scripts.data.readers.mask_folder import open_masks

CLASSES, SIZE = ("cat", "dog"), (2, 3)
FILES = {"a": "x/1.jpg", "b": "y/1.jpg", "c": "y/photo.jpg"}
INSIDE = np.array([[1, 1, 0], [0, 0, 1]], bool)


@pytest.fixture
def index(tmp_path, monkeypatch) -> Index:
    monkeypatch.chdir(tmp_path)
    entries = [Entry(name, path, *SIZE, "0" * 64, (0,), np.zeros((0, 5))) for name, path in FILES.items()]
    write_index("index.h5", "toy", CLASSES, entries, {"all": list(FILES)})
    return read_index("index.h5")


# Strokes


def bits(*parts: str) -> bytes:
    text = "".join(parts)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


HEAD = f"{24:032b}", "00111", "0010", "0011", "0111", "1111"  # 24 values of 8 bits; lengths of 3, 4, 8 and 16 bits
ON, OFF = "11111111", "00000000"


def test_strokes_by_hand():
    """Runs of 8, 12 and 4 values: two pixels, three, one."""
    stream = bits(*HEAD, "100", "111", ON, "101", "1011", OFF, "100", "011", ON)
    assert brush_runs.encode(INSIDE) == stream
    np.testing.assert_array_equal(brush_runs.decode(stream, SIZE), INSIDE)


def test_strokes_as_the_editor_writes_them():
    """Values that differ stand one by one; opacity alone counts, from half on."""
    values = [9, 8, 7, 128, 9, 8, 7, 255, 9, 8, 7, 127, *[0] * 8, 0, 0, 0, 255]
    literal = "".join(f"{value:08b}" for value in values)
    stream = bits(*HEAD, "010", f"{23:08b}", literal)
    np.testing.assert_array_equal(brush_runs.decode(stream, SIZE), INSIDE)


@pytest.mark.parametrize("size", [(1, 1), (37, 41), (400, 300)])
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 1])
def test_strokes_come_back(size, share):
    mask = np.random.default_rng(1).random(size) < share
    stream = brush_runs.encode(mask)
    np.testing.assert_array_equal(brush_runs.decode(stream, size), mask)
    for short in {0, 3, len(stream) // 2, len(stream) - 2}:
        with pytest.raises(ValueError, match="ends too early"):
            brush_runs.decode(stream[:short], size)


def test_strokes_of_another_image():
    stream = brush_runs.encode(INSIDE)
    with pytest.raises(ValueError, match="24 values of 8 bits"):
        brush_runs.decode(stream, (2, 4))
    with pytest.raises(ValueError, match="more values"):
        brush_runs.decode(bits(*HEAD, "110", f"{24:08b}", ON), SIZE)


# Tasks


def region(label: str = "dog", inside: np.ndarray = INSIDE, **more) -> dict:
    value = {"format": "rle", "rle": [*brush_runs.encode(inside)], "brushlabels": [label]}
    return {
        "type": "brushlabels",
        "original_height": 2,
        "original_width": 3,
        "image_rotation": 0,
        "value": value,
    } | more


def task(data: dict, *regions: dict, **more) -> dict:
    return {"id": 5, "data": data, "annotations": [{"was_cancelled": False, "result": [*regions]}]} | more


def write(content, name: str = "masks.json") -> Path:
    Path(name).write_text(json.dumps(content))
    return Path(name)


def test_tasks(index):
    """Later strokes over earlier ones; skipped tasks and those that nobody has done have no mask; an empty one has."""
    everywhere = np.ones(SIZE, bool)
    choice = {"type": "choices", "value": {"choices": ["good"]}}
    skipped = {"data": {"id": "b"}, "annotations": [{"was_cancelled": True, "result": []}]}
    path = write([task({"id": "a"}, region("ignored", everywhere), choice, region()), task({"id": "c"}), skipped])
    masks = open_masks(path, index)
    masks.check_names(index.ids, ["a", "c"])
    assert len(masks) == 2 and "b" not in masks
    np.testing.assert_array_equal(masks.read("a", SIZE), np.where(INSIDE, 2, 255))
    assert not masks.read("c", SIZE).any()
    one_fault(lambda: masks.check_names(index.ids, ["b"]), path, "no mask of 'b'", "`otherwise`")
    write([])
    refused(lambda: open_masks(path, index), path, "holds no mask")


def test_overlaps_are_told(index, capsys):
    masks = open_masks(write([task({"id": "a"}, region("cat"), region("dog"), region("dog"))]), index)
    assert (masks.read("a", SIZE) == np.where(INSIDE, 2, 0)).all()
    assert capsys.readouterr().out == "masks.json: 'a': 3 pixels in two regions go to the later one\n"


@pytest.mark.parametrize(
    ("image", "identifier"),
    [
        ("/data/local-files/?d=to%20do/JPEGImages/a.png", "a"),
        ("/data/upload/3/1a2b3c4d-photo.jpg", "c"),
        ("s3://bucket/y/1.jpg", None),  # two files have this name
        ("x/1.jpg", "a"),
        ("https://example.org/y/c.jpg?x=1", "c"),
        ("/data/upload/3/1a2b3c4d-other.jpg", None),
    ],
)
def test_tasks_by_the_addresses_of_their_images(index, image, identifier):
    masks = open_masks(write([task({"image": image}, region())]), index)
    if identifier:
        masks.check_names(index.ids, [])
        assert identifier in masks and len(masks) == 1
    else:
        one_fault(
            lambda: masks.check_names(index.ids, []), "masks.json", "task 5", Path(image).name, "nearest known id"
        )


NO_BYTES = region() | {"value": {"format": "rle", "rle": [1, 256], "brushlabels": ["cat"]}}
FAULTS = {
    "two annotations": ({"annotations": 2 * task({})["annotations"]}, (), "'a' has 2 annotations; keep one"),
    "polygon": ({}, (region(type="polygonlabels"),), "'polygonlabels'; draw it with the brush"),
    "unknown label": ({}, (region("dgo"),), "label 'dgo' is unknown, the nearest known class is 'dog'"),
    "another size": ({}, (region(original_width=2),), "'a' is annotated at 2 x 2, its image is 2 x 3 (H x W)"),
    "turned": ({}, (region(image_rotation=90),), "'a' was turned in Label Studio"),
    "no bytes": ({}, (NO_BYTES,), "its 'rle' are no bytes"),
    "no address": ({"data": {}}, (), "neither 'id' nor 'image'"),
}


@pytest.mark.parametrize(("change", "regions", "message"), FAULTS.values(), ids=FAULTS)
def test_faults_of_tasks_are_told_together(index, change, regions, message):
    path = write([task({"id": "a"}, *regions) | change, task({"id": "zz", "image": "zz.jpg"})])
    with pytest.raises(UserError) as told:
        open_masks(path, index).check_names(index.ids, [])
    first, second, third = str(told.value).split("\n")
    assert first == "masks.json: 2 faults" and message in second and "'zz.jpg'" in third


def test_files_that_are_no_export_of_tasks(index):
    path = write([{"id": 1, "image": "a.jpg", "label": []}])
    refused(lambda: open_masks(path, index), "masks.json, task 1", "not 'JSON-MIN'")
    refused(lambda: open_masks("nowhere.json", index), "nowhere.json: the file is missing")
    path.write_text('[{"id": 1')
    refused(lambda: open_masks(path, index), "masks.json: broken JSON")
    damaged = region()
    damaged["value"]["rle"] = damaged["value"]["rle"][:-2]
    masks = open_masks(write([task({"id": "a"}, damaged)]), index)
    refused(lambda: masks.read("a", SIZE), "masks.json, task 5: 'a'", "ends too early", "export it again")


# COCO


def coco(images: list[dict], *annotations: dict) -> dict:
    categories = [
        {"id": 7, "name": "dog"},
        {"id": 3, "name": "cat"},
        {"id": 4, "name": "ignored"},
        {"id": 9, "name": "x"},
    ]
    numbered = [{"id": number, "image_id": 1} | one for number, one in enumerate(annotations)]
    return {"images": images, "categories": categories, "annotations": numbered}


IMAGE = {"id": 1, "file_name": "a.png", "height": 2, "width": 3}


def test_regions_of_coco(index):
    """Runs, of crowds too, as CVAT writes masks; polygons; the file's own order; an image without a region."""
    runs = {"segmentation": {"size": [2, 3], "counts": [0, 1, 1, 1, 2, 1]}}
    polygon = {"segmentation": [[0, 0, 3, 0, 3, 2, 0, 2]], "category_id": 4}
    path = write(coco([IMAGE, {"id": 2, "file_name": "y/1.jpg"}], polygon, runs | {"category_id": 7, "iscrowd": 1}))
    masks = open_masks(path, index)
    masks.check_names(index.ids, ["a", "b"])
    np.testing.assert_array_equal(masks.read("a", SIZE), np.where(INSIDE, 2, 255))
    assert not masks.read("b", SIZE).any() and "c" not in masks


@pytest.mark.parametrize(
    ("images", "annotation", "message"),
    [
        ([IMAGE | {"width": 4}], None, "masks.json, image 1: is annotated at 2 x 4, its image is 2 x 3 (H x W)"),
        ([IMAGE | {"file_name": "1.jpg"}], None, "no image has the id or file '1.jpg'"),
        ([IMAGE, IMAGE | {"id": 2, "file_name": "x/1.jpg"}], None, "image 2: 'a' has another image in this file"),
        ([IMAGE], {"category_id": 9, "bbox": [0, 0, 1, 1], "segmentation": [[0, 0, 1, 0, 1, 1]]}, "category 'x' of 1 annotation"),
        ([IMAGE], {"category_id": 3, "bbox": [0, 0, 1, 1]}, "annotation 0: has no outline"),
        ([IMAGE], {"category_id": 3, "segmentation": {"size": [3, 3], "counts": [9]}, "bbox": [0, 0, 1, 1]}, "restore the image"),
    ],
)  # fmt: skip
def test_faults_of_coco(index, images, annotation, message):
    path = write(coco(images, *([annotation] if annotation else [])))
    one_fault(lambda: open_masks(path, index).check_names(index.ids, []), path, message)
