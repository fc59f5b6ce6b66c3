"""COCO's JSON as annotation tools export it: names, numbers, categories and sizes."""

import os
import tracemalloc
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from own_coco import CLASSES, HEIGHT, WIDTH, drawn, listed, picture, read, told, truths, without, write
from PIL import Image

from workflow_scripts.data.index_entries import Faults, check_id
from workflow_scripts.data.kinds.coco import identifiers, read_coco
from workflow_scripts.data.readers import json_lists
from workflow_scripts.data.readers.coco_file import InstancesFile

QUIET = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A data set of one picture, whose JSON the tests write."""
    root = tmp_path_factory.mktemp("coco")
    picture(root / "images/a.png")
    return root


# --- names of files and ids -------------------------------------------------------------------------------------------

PARTS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x17F, exclude_characters="/\\:%"), min_size=1, max_size=8
)
REFUSED = {
    "../a.png": "leads out",
    "x/../../a.png": "leads out",
    "x\\..\\..\\a.png": "leads out",
    "/etc/a.png": "absolute path",
    "\\\\server\\a.png": "absolute path",
    "C:\\photos\\a.png": "absolute path",
    "c:/photos/a.png": "absolute path",
    "https://example.org/a.png": "is an address",
    "s3://bucket/a.png": "is an address",
    "data:image/png;base64,AAAA": "is an address",
    "": "no name of a file",
    "a\n.png": "no name of a file",
    "2021/": "is a folder",
    ".": "is a folder",
}


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_names_that_are_refused(folder, name, reason):
    write(folder, [listed(name=name)], [drawn()])
    (line,) = told(lambda: read(folder))
    assert f"i.json, image 1: file_name {name!r}" in line and reason in line and "below the folder" in line


@settings(QUIET, max_examples=200)
@given(st.text(st.sampled_from("./\\:%~ab2eé \n\0C"), max_size=12))
def test_no_name_leads_out_of_the_folder(folder, name):
    faults = Faults()
    contents = InstancesFile(write(folder, [listed(name=name)], []), CLASSES, faults)
    assert len(faults.messages) + len(contents.pictures) == 1
    for found in contents.pictures.values():
        assert os.path.normpath(f"/images/{found.name}").startswith("/images/") and "\\" not in found.name


@QUIET
@given(
    st.lists(st.tuples(st.sampled_from(["train", "val", "."]), st.lists(PARTS, min_size=1, max_size=3)), max_size=8),
    st.randoms(use_true_random=False),
)
def test_ids_tell_images_apart_and_name_files(names, random):
    names = [(place, str(PurePosixPath(*parts))) for place, parts in names]
    names = list(dict.fromkeys(pair for pair in names if pair[1] != "."))  # which is no file
    ids = identifiers(names)
    for identifier in ids.values():
        assert "/" not in identifier and "\\" not in identifier
    shuffled = random.sample(names, len(names))
    assert identifiers(shuffled) == ids  # the order of the file does not count
    if all("." not in name and "__" not in name for _, name in names):
        assert len(set(ids.values())) == len(names)


def test_folders_below_that_of_the_images(folder):
    """With slashes or backslashes; two of them may have images of one name."""
    names = {"2021/c.png": "2021__c", "2022\\c.png": "2022__c", ".\\2022/x/c.v2.png": "2022__x__c.v2", "c.png": "c"}
    for name in names:
        picture(folder / "images" / name.replace("\\", "/"))
    images = [listed(number, name) for number, name in enumerate(names)]
    write(folder, images, [drawn(n, n, 1 + n % 3, (n, 1, 9, 9)) for n in range(4)])
    members, entries = read(folder)
    assert members["all"] == list(names.values())
    for (name, identifier), entry in zip(names.items(), entries, strict=True):
        check_id(identifier)
        assert Path(entry.image) == folder / "images" / name.replace("\\", "/")
    label_of, instances_of = truths(folder)
    for number, identifier in enumerate(names.values()):
        assert np.unique(label_of(identifier)["label"]).tolist() == [0, 1 + number % 3]
        assert instances_of(identifier).boxes[0, 0] == number


def test_folders_of_two_splits_with_images_of_one_name(folder):
    """The folder stands in front of all ids, whatever the limit, and each image has its own truth."""
    for split, names in (("train", "ab"), ("valid", "bc")):
        for name in names:
            picture(folder / split / f"{name}.png")
        images = [listed(number, f"{name}.png") for number, name in enumerate(names)]
        annotations = [drawn(n, n, 1 + (split == "valid"), (n, 1, 9, 9)) for n in range(2)]
        write(folder, images, annotations, file=f"{split}.json")
    splits = {split: (f"{split}.json", split) for split in ("train", "valid")}
    ids = {"train": ["train__a", "train__b"], "valid": ["valid__b", "valid__c"]}
    assert read(folder, **splits)[0] == ids
    assert read_coco(folder, CLASSES, splits, limit=1)[0] == {"train": ["train__a"], "valid": ["valid__b"]}
    label_of, _ = truths(folder, **splits)
    assert label_of("train__b")["label"].max() == 1 and label_of("valid__b")["label"].max() == 2


@pytest.mark.parametrize("second", ["a.jpg", "2021__c.jpg"])
def test_two_files_of_one_id(folder, second):
    first = {"a.jpg": "a.png", "2021__c.jpg": "2021/c.png"}[second]
    write(folder, [listed(1, first), listed(2, second)], [drawn(1, 1), drawn(2, 2)])
    (line,) = told(lambda: read(folder))
    assert first in line and second in line and "would both have the id" in line and "rename" in line


def test_ways_out_where_a_picture_is_missing(folder):
    """Names of another folder, or of an address; followed, they work."""
    write(folder, [listed(name="images/a.png")], [drawn()])
    (line,) = told(lambda: read(folder))
    assert "set `folder: .` of the split" in line
    assert read(folder, all=("i.json", "."))[0] == {"all": ["images__a"]}
    picture(folder / "images/a b.png")
    write(folder, [listed(name="a%20b.png")], [drawn()])
    (line,) = told(lambda: read(folder))
    assert "'a%20b.png' has escapes" in line and "as the file is called" in line
    write(folder, [listed(name="a b.png")], [drawn()])
    assert read(folder)[0] == {"all": ["a b"]}
    picture(folder / "images/50%25.png")  # a file that is called so
    write(folder, [listed(name="50%25.png")], [drawn()])
    assert read(folder)[0] == {"all": ["50%25"]}


# --- numbers, sizes and categories ------------------------------------------------------------------------------------

WRITTEN = st.sampled_from([int, float, str, lambda number: f" {number}"])


@QUIET
@given(
    st.integers(-3, 2**40),
    st.integers(0, 2**40),
    WRITTEN,
    WRITTEN,
    WRITTEN,
    st.sampled_from([None, 0, 1, "0", "1", True]),
)
def test_whole_numbers_may_be_written_otherwise(folder, image, category, first, second, third, crowd):
    """3, 3.0 and "3" are one number; `iscrowd` may be absent."""
    item = drawn(third(5), first(image), second(category), iscrowd=crowd)
    item = without(item, "iscrowd") if crowd is None else item
    images = [listed(second(image), width=first(WIDTH), height=third(HEIGHT))]
    write(folder, images, [item], [{"id": third(category), "name": "dog"}])
    _, (entry,) = read(folder)
    assert entry.labels == (1,) and entry.crowds == ((0,) if crowd in (1, "1", True) else ())
    assert np.unique(truths(folder)[0]("a")["label"]).tolist() == [0, 2]


@QUIET
@given(
    st.permutations(range(3)),
    st.lists(st.integers(0, 90), min_size=6, max_size=6, unique=True),
    st.lists(st.sampled_from(["animals", "none", "cat", "Cats", "dog", "猫", "", 7, None]), max_size=3),
    st.booleans(),
)
def test_categories_in_any_order_with_gaps_and_parents(folder, order, numbers, parents, before):
    """A category that no annotation names is no class, even one that is called like a class."""
    named = [{"id": numbers[place], "name": CLASSES[place], "supercategory": "animals"} for place in order]
    unused = [{"id": numbers[3 + place], "name": name} for place, name in enumerate(parents)]
    objects = [drawn(place, 1, numbers[place], (2 + 20 * place, 3, 9, 9)) for place in range(3)]
    write(folder, [listed()], objects, unused + named if before else named + unused)
    _, (entry,) = read(folder)
    assert entry.labels == (0, 1, 2) and entry.boxes[:, 4].tolist() == [0, 1, 2]
    label = truths(folder)[0]("a")["label"]
    assert [label[5, 5], label[5, 25], label[5, 45]] == [1, 2, 3]


def test_a_category_that_the_classes_leave_out_is_told_once(folder):
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "Dogs"}]
    write(folder, [listed()], [drawn(1), *(drawn(number, category=2) for number in (2, 3))], categories)
    (line,) = told(lambda: read(folder))
    assert "category 'Dogs' of 2 annotations is none of the classes, the nearest is 'dog'; correct it, or add" in line


@pytest.mark.parametrize("value", [0, None, "", "0", 0.0, "absent"])
def test_a_size_that_is_not_stated_is_not_compared(folder, value):
    image = listed(width=value, height=value)
    write(folder, [without(image, "width", "height") if value == "absent" else image], [drawn()])
    faults = Faults()
    _, (entry,) = read(folder, faults)
    assert (entry.height, entry.width) == (HEIGHT, WIDTH)
    assert [finding[:2] for finding in faults.findings] == [("size_missing", "a")]


@QUIET
@given(st.integers(1, 300), st.integers(1, 300))
@example(WIDTH, HEIGHT)
@example(HEIGHT, WIDTH)
@example(4 * HEIGHT, 4 * WIDTH)
def test_a_stated_size_is_that_of_the_file(folder, height, width):
    write(folder, [listed(height=height, width=width)], [drawn()])
    if (height, width) == (HEIGHT, WIDTH):
        assert read(folder)
        return
    (line,) = told(lambda: read(folder))
    assert f"i.json, image 'a': states an image of {width} x {height} pixels" in line and "a.png has 64 x 48" in line


@pytest.mark.parametrize("oriented", [True, False])
def test_a_photograph_that_a_tool_did_not_turn(folder, oriented):
    """Its JSON states the other size; the way out that is named works."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / "images/turned.jpg", exif=exif)
    sides = (HEIGHT, WIDTH) if oriented else (WIDTH, HEIGHT)
    write(folder, [listed(name="turned.jpg", height=sides[0], width=sides[1])], [drawn()])

    def entries(oriented: bool):
        return read_coco(folder, CLASSES, {"all": ("i.json", "images")}, oriented=oriented)[1]

    (line,) = told(lambda: entries(oriented))
    assert "EXIF orientation" in line and f"`orientation: {'stored' if oriented else 'shown'}`" in line
    assert (entries(not oriented)[0].height, entries(not oriented)[0].width) == sides


def test_runs_without_box_or_stated_size_are_of_an_image_of_theirs(folder):
    """Their own size is compared with the file, as their box is in its pixels."""
    half = {"size": [HEIGHT // 2, WIDTH // 2], "counts": [5, 6, HEIGHT * WIDTH // 4 - 11]}
    write(folder, [without(listed(), "width", "height")], [without(drawn(segmentation=half), "bbox")])
    (line,) = told(lambda: read(folder))
    assert "states an image of 32 x 24 pixels" in line and "has 64 x 48" in line


@QUIET
@given(
    st.lists(
        st.tuples(*[st.floats(0, 0.5, width=16)] * 2, *[st.floats(0.125, 0.5, width=16)] * 2), min_size=1, max_size=4
    )
)
def test_boxes_from_0_to_1_are_refused(folder, boxes):
    """One of them among others is a small object."""
    write(folder, [listed()], [drawn(number, box=box) for number, box in enumerate(boxes)])
    (line,) = told(lambda: read(folder))
    assert "i.json: all boxes are normalised" in line and "multiply x and width by the width" in line
    write(folder, [listed()], [drawn(number, box=box) for number, box in enumerate([*boxes, (0, 0, 1, 2)])])
    assert len(read(folder)[1][0].boxes) == len(boxes) + 1


def spread(x: int, y: int, w: int, h: int) -> list:
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]


@QUIET
@given(st.tuples(st.integers(2, 20), st.integers(2, 15), st.integers(3, 20), st.integers(3, 20)), st.integers(1, 3))
def test_corners_in_place_of_width_and_height_are_refused(folder, box, right):
    """Where most boxes are corners, as the polygons show; leaving them out, as the message says, works."""
    x, y, w, h = box
    wrong = [drawn(n, box=(x, y, x + w, y + h), segmentation=spread(*box)) for n in range(right + 1)]
    sound = [drawn(10 + n, box=box) for n in range(right)]
    write(folder, [listed()], [*wrong, *sound])
    (line, *_) = told(lambda: read(folder))
    assert f"bbox of {len(wrong)} of {len(wrong) + right} annotations" in line and "x0 y0 x1 y1" in line
    write(folder, [listed()], [without(item, "bbox") for item in [*wrong, *sound]])
    assert read(folder)[1][0].boxes[:, :4].tolist() == [[x, y, x + w, y + h]] * (2 * right + 1)


@QUIET
@given(st.tuples(*[st.integers(0, 20)] * 2, *[st.integers(4, 20)] * 2), st.tuples(*[st.integers(0, 7)] * 2))
def test_a_box_that_is_not_around_its_outline_is_told(folder, box, moved):
    x, y, w, h = box
    other = (x + moved[0], y + moved[1], w, h)
    write(folder, [listed()], [drawn(1, box=box, segmentation=spread(*other)), *(drawn(n) for n in (2, 3))])
    faults = Faults()
    read(folder, faults)
    shared = max(0, w - moved[0]) * max(0, h - moved[1])
    beside = max(moved) > 1 and shared / (2 * w * h - shared) < 0.5
    found = [finding for finding in faults.findings if finding.check == "box_beside_outline"]
    assert [finding.identifier for finding in found] == ["a"] * beside
    assert all(finding.detail == "annotation 1" for finding in found)


@pytest.mark.parametrize(("category", "found"), [(1, ["a"]), (2, [])])
def test_boxes_that_are_there_twice(folder, category, found):
    """One of each of two classes is no mistake."""
    write(folder, [listed()], [drawn(1), drawn(2, category=category)])
    faults = Faults()
    read(folder, faults)
    assert [finding.identifier for finding in faults.findings if finding.check == "box_twice"] == found


def test_an_id_that_can_name_no_file_is_told_with_its_json(folder):
    write(folder, [listed(name=".hidden/a.png")], [drawn()])
    (line,) = told(lambda: read(folder))
    assert "i.json: image id '.hidden__a' starts with '.'" in line


def test_annotations_of_images_that_are_not_there_are_counted(folder):
    write(folder, [listed()], [drawn(1), *(drawn(number, image=9) for number in (2, 3))])
    (line,) = told(lambda: read(folder))
    assert "annotation 2: unknown image 9, named by 2 annotations; list the image, or delete" in line


def test_areas_that_are_none_are_counted_in_pixels(folder):
    areas = [None, float("nan"), float("inf"), "80", 0, 77.5]
    write(folder, [listed()], [drawn(number, area=area) for number, area in enumerate(areas)] + [drawn(9)])
    assert truths(folder)[1]("a").areas.tolist() == [80, 80, 80, 80, 80, 77.5, 80]


def test_outlines_pass_through_one_by_one(folder, monkeypatch):
    """As Python's numbers, those of this file take 8 MB; what is kept are boxes, or runs."""
    monkeypatch.setattr(json_lists, "CHUNK", 1 << 16)
    angles = np.linspace(0, 2 * np.pi, 250, endpoint=False)
    circle = np.stack([32 + 20 * np.cos(angles), 24 + 20 * np.sin(angles)], axis=1).round(2).ravel().tolist()
    write(folder, [listed()], [drawn(number, segmentation=[circle]) for number in range(500)])
    label_of, instances_of = truths(folder)  # what is made once takes memory, too
    tracemalloc.start()
    try:
        label_of, instances_of = truths(folder)
        assert tracemalloc.get_traced_memory()[1] < 3e6
    finally:
        tracemalloc.stop()
    assert len(instances_of("a")) == 500 and label_of("a")["label"].any()
