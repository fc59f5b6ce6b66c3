"""What `wsss import` takes from files that the annotation tools' own libraries wrote, and from every layout of a format."""

import json
import shutil
from pathlib import Path

import imported_drawings as drawings
import numpy as np
import pytest
import stage_runs
from conftest import SOURCES
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as rle
from small_imports import boxes, drawn, faults, labelme, labels, picture, read, rows, shape, written

from workflow_scripts.base.errors import UserError
from workflow_scripts.commands import import_data
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.imports.geometry import in_pixels
from workflow_scripts.data.imports.records import Picture, Shape
from workflow_scripts.data.index import read_index
from workflow_scripts.store.artifacts import Reader

FILES = SOURCES / "tests/imports"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Files of the tools' libraries


def tool_files(name: str) -> None:
    """The files of one tool, and the drawn pictures where they belong."""
    drawings.draw(Path("drawn"))
    if (FILES / name).is_dir():
        shutil.copytree(FILES / name, "in")
    else:
        Path("in").mkdir()
        shutil.copy(FILES / name, "in")
    places = Path("in/pictures.list")
    named = places.read_text().splitlines() if places.exists() else list(drawings.SIZES)
    if name == "labelme":
        named = [f"{split}/{picture}" for picture, split in drawings.SPLITS.items()]
    if name.startswith("ultralytics"):
        named = [f"images/{split}/{picture}" for picture, split in drawings.SPLITS.items()]
        Path("in/data.yaml").write_text(
            f"path: /somewhere/else\ntrain: images/train\nval: images/val\nnames: {json.dumps(dict(enumerate(drawings.CLASSES)))}"
        )
    for place in named:
        Path("in", place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path("drawn", Path(place).name), Path("in", place))


def expected_mask(file: str, masks: bool) -> np.ndarray | None:
    """As a reference draws it: outlines by pycocotools from the numbers of `imported_drawings`, above boxes that are ignored."""
    height, width = drawings.SIZES[file]
    label, found = np.zeros((height, width), np.uint8), False
    for (x0, y0, x1, y1), _ in drawings.BOXES.get(file, []):
        label[y0:y1, x0:x1] = 255
    for points, name in drawings.POLYGONS.get(file, []):
        label[rle.decode(rle.frPyObjects([points], height, width))[..., 0] > 0] = drawings.CLASSES.index(name) + 1
        found = True
    for mask, name in drawings.MASKS.get(file, []) if masks else []:
        label[mask] = drawings.CLASSES.index(name) + 1
        found = True
    return label if found else None


def around(points) -> tuple:
    return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


@pytest.mark.parametrize(
    ("name", "kind", "outlines", "masks", "splits", "negatives"),
    [
        ("datumaro_cvat", "cvat", True, True, False, 0),
        ("datumaro_coco_instances", "coco", True, True, True, 0),
        ("datumaro_voc", "voc", False, False, True, 0),
        ("datumaro_yolo", "yolo", False, False, True, 2),
        ("datumaro_yolo_ultralytics", "yolo", False, False, True, 2),
        ("ultralytics_polygons", "yolo", True, False, True, 0),
        ("labelme", "labelme", True, True, True, 1),
        ("label_studio/tasks.json", "label-studio", True, True, False, 1),
        ("label_studio/min.json", "label-studio", True, True, False, 1),
        ("pycocotools.json", "coco", True, True, False, 0),
    ],
)
def test_files_of_the_tools(name, kind, outlines, masks, splits, negatives):
    """Boxes and outlines come back to the pixel, on the photograph as it is shown; nothing else is told as a fault."""
    tool_files(name)
    result = read()
    assert result.format == kind
    assert not faults(result)
    assert list(result.table.classes) == drawings.CLASSES
    assert result.table.orientation == "shown"
    found, names = rows(result), {Path(file).stem.replace(" ", "_"): file for file in drawings.SIZES}
    assert sum(not row.labels for row in found.values()) == negatives
    as_polygons = name == "ultralytics_polygons"  # which makes polygons of boxes, too
    for identifier, file in names.items():
        told = [(*box, label) for box, label in drawings.BOXES.get(file, [])]
        if outlines:
            told += [(*around(points), label) for points, label in drawings.POLYGONS.get(file, [])]
        if masks and file in drawings.MASKS:
            told += [(6, 4, 27, 20, "cat")]
        if told:
            assert boxes(result)[identifier] == told, identifier
            assert (found[identifier].split == drawings.SPLITS[file]) == splits
    images = drawn(result)
    for identifier, file in names.items():
        reference = expected_mask(file, masks) if outlines and not as_polygons else None
        if as_polygons and identifier in images:
            (height, width), label = drawings.SIZES[file], images[identifier]
            assert label.shape == (height, width) and 255 not in label
            for (x0, y0, x1, y1), one in drawings.BOXES[file]:
                assert (label[y0:y1, x0:x1] == drawings.CLASSES.index(one) + 1).all()
        elif reference is None:
            assert identifier not in images
        else:
            np.testing.assert_array_equal(images[identifier], reference)


def test_masks_of_a_tool_by_their_colours():
    """As CVAT's "Segmentation mask 1.1": labels are what the masks show, values those of the project."""
    tool_files("datumaro_voc_segmentation")
    result = read(classes=("dog", "cat"))
    assert result.format == "voc" and not faults(result)
    assert labels(result) == {"a": ["dog"], "b": ["cat"], "c_d": ["cat"]}
    assert [row.split for row in result.table.rows] == ["train", "train", "val"]
    for identifier, label in drawn(result).items():
        file = {"a": "a.png", "b": "b.jpg", "c_d": "c d.png"}[identifier]
        np.testing.assert_array_equal(label, np.array([0, 2, 1, *[0] * 253], np.uint8)[expected_mask(file, True) % 255])
    assert drawn(read(classes=("cat",)))["b"].any() and not read(classes=("cat",)).told.notes.get("overlap")
    assert labels(read(classes=("cat",))) == {"a": [], "b": ["cat"], "c_d": ["cat"]}


def test_masks_of_voc_beside_its_xml():
    """By VOC's ids where all classes are VOC's; else not read, and told."""
    picture("in/JPEGImages/a.png")
    label = np.zeros((20, 30), np.uint8)
    label[3:9, 3:9], label[9, 3:9] = 12, 255  # dog, and what is ignored
    Path("in/SegmentationClassAug").mkdir()
    Image.fromarray(label).save("in/SegmentationClassAug/a.png")
    for name in ("dog", "hound"):
        voc("in/Annotations/a.xml", [(3, 3, 9, 9, name)])
        result = read()
        if name == "dog":
            np.testing.assert_array_equal(drawn(result)["a"], np.where(label == 12, 1, label))
        else:
            assert not drawn(result) and list(result.told.notes["nameless_values"]) == ["SegmentationClassAug"]
        assert boxes(result)["a"] == [(3, 3, 9, 9, name)]


def test_boxes_of_ultralytics_are_those_around_polygons_too():
    tool_files("ultralytics_boxes")
    result = read()
    assert boxes(result)["a"] == [(5, 6, 19, 14, "cat"), (20, 4, 36, 26, "dog")]
    assert boxes(result)["b"] == [(10, 2, 30, 28, "dog"), (31, 5, 48, 32, "cat"), (2.5, 1, 9, 30, "cat")]


def test_stages_read_what_was_written():
    """Index and truth of the imported data set are what the tool's file says."""
    tool_files("datumaro_cvat")
    assert import_data.main(["in", "--out", "mine", "--write", "--unannotated", "negatives"]) == 0
    plan = Plan(Config.load("mine/mine.yaml"))
    for stage in ("index", "truth"):
        assert stage_runs.run(plan, stage) is None
    index, truth = read_index("results/mine/index.h5"), Reader("results/mine/truth.h5", "truth", "mine")
    assert index.ids == ["a", "b", "c_d", "n"] and list(index.classes) == drawings.CLASSES
    for identifier, file in zip(index.ids, drawings.SIZES, strict=True):
        assert index.size_of(identifier) == drawings.SIZES[file]
        label, reference = truth.read(identifier)["label"], expected_mask(file, True)
        np.testing.assert_array_equal(label, np.zeros(drawings.SIZES[file]) if reference is None else reference)
    np.testing.assert_array_equal(index.boxes_of("b"), [[10, 2, 30, 28, 1], [31, 5, 48, 32, 0], [2.5, 1, 9, 30, 0]])


def test_sizes_of_photographs_as_they_are_stored():
    """Annotations on the pixels as they are stored state these sizes; the settings then say so."""
    tool_files("datumaro_cvat")
    path = Path("in/train.xml")
    text = path.read_text().replace('width="48" height="32"', 'width="32" height="48"')
    path.write_text(text.replace('xbr="48.00"', 'xbr="32.00"').replace('ybr="32.00"', 'ybr="48.00"'))
    result = read()
    assert result.table.orientation == "stored"
    assert drawn(result)["b"].shape == (48, 32)
    assert "orientation: stored" in import_data.settings(result.table, Path("mine"))
    assert any("is stated" in one or "states an image" in one for one in faults(read(orientation="shown")))


# YOLO


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whole_corners_survive_six_decimals(data):
    """Any box of whole pixels, written with six decimals or digits, is the same again."""
    width, height = data.draw(st.integers(2, 6000)), data.draw(st.integers(2, 6000))
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    form = data.draw(st.sampled_from(["{:.6f}", "{}"]))
    shares = [(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]
    x, y, wide, high = (float(form.format(share)) for share in shares)
    shape = Shape("cat", (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2))
    (found,) = in_pixels(Picture(Path(), "", shapes=[shape], decimals=6), (height, width))
    assert found.box == (x0, y0, x1, y1)


def test_fractions_of_pixels_stay_as_they_are_written():
    shape = Shape("cat", (0.1, 0.1, 0.2, 0.2), [[0.105, 0.1, 0.2, 0.1, 0.2, 0.2]])
    (found,) = in_pixels(Picture(Path(), "", shapes=[shape], decimals=6), (101, 105))
    assert found.box == pytest.approx((10.5, 10.1, 21, 20.2), abs=1e-9)
    assert found.outline == [pytest.approx([11.025, 10.1, 21, 10.1, 21, 20.2], abs=1e-9)]


def test_few_decimals_are_told():
    picture("in/images/a.png", (900, 900))
    written("in/labels/a.txt", "0 0.51 0.52 0.23 0.11\n")
    written("in/classes.txt", "cat\n")
    assert "coarse" in read().told.notes


@pytest.mark.parametrize("layout", ["ultralytics", "roboflow", "darknet", "lists", "beside"])
def test_layouts_of_yolo(layout):
    """Each finds labels and splits; an image without a file is told, one with an empty file shows nothing."""
    inside = {"roboflow": ("{}/images", "{}/labels"), "darknet": ("obj_{}_data", "obj_{}_data"), "beside": ("{}", "{}")}
    images, texts = inside.get(layout, ("images/{}", "labels/{}"))
    for split, name in (("train", "a"), ("train", "empty"), ("train", "none"), ("val", "b")):
        path = picture(f"in/{images.format(split)}/{name}.png")
        if layout == "roboflow" and split == "val":
            path.parent.parent.rename("in/valid")
            path = Path("in/valid/images/b.png")
        if name != "none":
            text = "" if name == "empty" else "1 0.5 0.5 0.2 0.4\n"
            written(f"in/{texts.format(split if path.parts[1] != 'valid' else 'valid')}/{name}.txt", text)
    if layout == "ultralytics":
        written(
            "in/data.yaml", "path: ../data/set\ntrain: images/train\nval: images/val\ntest:\nnames: {0: cat, 1: dog}\n"
        )
    elif layout == "roboflow":
        written(
            "in/data.yaml",
            "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: [cat, dog]\n",
        )
    elif layout == "darknet":
        written("in/obj.data", "classes = 2\ntrain = data/train.txt\nvalid = data/val.txt\nnames = data/obj.names\n")
        written("in/obj.names", "cat\ndog\n")
        written("in/train.txt", "".join(f"data/obj_train_data/{name}.png\n" for name in ("a", "empty", "none")))
        written("in/val.txt", "data/obj_val_data/b.png\n")
    elif layout == "lists":
        written("in/data.yaml", "train: train.txt\nval: val.txt\nnames: [cat, dog]\n")
        written("in/train.txt", "".join(f"./images/train/{name}.png\n" for name in ("a", "empty", "none")))
        written("in/val.txt", "./images/val/b.png\n")
    else:
        written("in/classes.txt", "cat\ndog\n")
    result = read()
    assert result.format == "yolo" and not faults(result)
    assert labels(result) == {"a": ["dog"], "b": ["dog"], "empty": []}
    assert {name: row.split for name, row in rows(result).items()} == {"a": "train", "empty": "train", "b": "val"}
    assert boxes(result)["a"] == [(12, 6, 18, 14, "dog")]
    assert [*result.table.classes] == ["dog"] and [*result.told.notes["unused"]] == ["cat"]
    assert [Path(name).name for name in result.told.notes["unannotated"]] == ["none.png"]
    assert labels(read(negatives=True))["none"] == []


def test_yolo_lists_of_missing_images_are_told():
    picture("in/images/a.png")
    written("in/labels/a.txt", "0 .5 .5 .1 .1\n")
    written("in/data.yaml", "train: train.txt\nval: train.txt\nnames: [cat]\n")
    written("in/train.txt", "/elsewhere/images/a.png\nimages/gone.png\n")
    (fault,) = faults(read())
    assert "in/train.txt: lists 'images/gone.png', which is not below in; copy it there" in fault


def test_yolo_outside_its_folder_is_refused():
    picture("in/images/a.png")
    written("in/data.yaml", "path: ..\ntrain: ../../elsewhere\nnames: [cat]\n")
    written("in/labels/a.txt", "0 .5 .5 .1 .1\n")
    with pytest.raises(UserError, match="train: ../../elsewhere is no folder or list below in"):
        read()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2", "expected a class and four"),
        ("0 0.5 0.5 0.2 0.2 0.9", "take the confidence away"),
        ("cat 0.5 0.5 0.2 0.2", "is not a class number and numbers"),
        ("2 0.5 0.5 0.2 0.2", "class 2, but the classes are 0 to 1"),
        ("0 10 10 5 5", "not from 0 to 1"),
        ("0 0.9 0.9 0.8 0.8", "is outside the image"),
    ],
)
def test_lines_of_yolo_that_are_refused(line, message):
    for name in ("a", "b"):
        picture(f"in/{name}.png")
    written("in/classes.txt", "cat\ndog\n")
    written("in/a.txt", "0 0.5 0.5 0.2 0.2\n")
    written("in/b.txt", f"{line}\n")
    (fault,) = faults(read())
    assert message in fault and "b.txt" in fault
    assert list(rows(read())) == ["a"]


# CVAT


def cvat(*elements: str, size=(20, 30), labels=("cat", "dog")) -> None:
    picture("in/a.png", size)
    listed = "".join(f"<label><name>{name}</name></label>" for name in labels)
    inside = "".join(elements)
    written(
        "in/annotations.xml",
        f"<annotations><version>1.1</version><meta><task><labels>{listed}</labels></task></meta>"
        f'<image id="0" name="a.png" width="{size[1]}" height="{size[0]}">{inside}</image></annotations>',
    )


def test_cvat_layers_and_tags():
    """What has a greater z_order lies above, whatever its place in the file."""
    cvat(
        '<polygon label="cat" points="2,2;12,2;12,12;2,12" z_order="2"/>',
        '<polygon label="dog" points="8,2;20,2;20,12;8,12" z_order="1"/>',
        '<tag label="cat"/>',
    )
    result = read()
    label = np.zeros((20, 30), np.uint8)
    label[2:12, 8:20] = 2
    label[2:12, 2:12] = 1
    np.testing.assert_array_equal(drawn(result)["a"], label)
    assert "overlap" in result.told.notes


def test_cvat_tag_without_an_object_leaves_the_mask_unknown():
    cvat('<polygon label="cat" points="2,2;12,2;12,12;2,12"/>', '<tag label="dog"/>')
    result = read()
    assert labels(result) == {"a": ["cat", "dog"]} and not drawn(result)
    assert list(result.told.notes["no_mask"]) == ["a.png"]


def test_cvat_rotated_box():
    """A quarter turn of 8 x 4 pixels is 4 x 8 pixels around the same centre."""
    cvat('<box label="cat" xtl="6" ytl="8" xbr="14" ybr="12" rotation="90.0"/>')
    result = read()
    assert boxes(result)["a"] == [(pytest.approx(8), pytest.approx(6), pytest.approx(12), pytest.approx(14), "cat")]
    label = np.zeros((20, 30), np.uint8)
    label[6:14, 8:12] = 1
    np.testing.assert_array_equal(drawn(result)["a"], label)
    assert "rotated" in result.told.notes


def test_cvat_ellipse_and_what_has_no_area():
    cvat('<ellipse label="cat" cx="15" cy="10" rx="8" ry="4"/>', '<polyline label="dog" points="1,1;5,5"/>')
    result = read()
    assert labels(result) == {"a": ["cat", "dog"]}
    assert boxes(result)["a"] == [(pytest.approx(7), pytest.approx(6), pytest.approx(23), pytest.approx(14), "cat")]
    assert {"curved", "not_drawn", "no_mask"} <= set(result.told.notes)
    assert abs(int((drawn(read(classes=("cat",)))["a"] == 1).sum()) - np.pi * 8 * 4) < 5


def test_cvat_mask_in_a_window():
    cvat(
        '<mask label="dog" rle="1,2,1,3,2" left="4" top="5" width="3" height="3"/>',
        '<box label="cat" xtl="20" ytl="1" xbr="24" ybr="5"/>',
    )
    label = np.zeros((20, 30), np.uint8)
    label[1:5, 20:24] = 255
    label[5, 5:7] = label[6, 5:7] = label[7, 4] = 2
    np.testing.assert_array_equal(drawn(read())["a"], label)


@pytest.mark.parametrize(
    ("element", "message"),
    [
        ('<mask label="dog" rle="1,2,1,3" left="4" top="5" width="3" height="3"/>', "runs do not fill its window"),
        ('<mask label="dog" rle="1,2,1,3,2" left="28" top="5" width="3" height="3"/>', "outside the image"),
        ('<mask label="dog" rle="1,x" left="2" top="5" width="3" height="3"/>', "runs do not fill its window"),
        ('<polygon label="dog" points="1,2;3"/>', "are not x,y;x,y"),
        ('<polygon label="dog" points="90,90;99,90;99,99"/>', "outside the image"),
        ('<box label="dog" xtl="1" ytl="1" xbr="5"/>', "not four numbers"),
    ],
)
def test_objects_of_cvat_that_are_refused(element, message):
    cvat(element)
    with pytest.raises(UserError, match=message):
        read()


def test_tracks_of_cvat_are_refused():
    picture("in/a.png")
    written("in/a.xml", '<annotations><track id="0" label="cat"><box frame="0"/></track></annotations>')
    with pytest.raises(UserError, match="tracks of a video; export it as 'CVAT for images 1.1'"):
        read()


@pytest.mark.parametrize("kind", ["cvat", "voc"])
def test_entities_in_xml_are_refused(kind):
    """A document that would grow to gigabytes is not expanded."""
    tag = "annotations" if kind == "cvat" else "annotation"
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    picture("in/a.png")
    written("in/a.xml", f'<!DOCTYPE x [<!ENTITY e0 "aaaaaaaaaa">{entities}]><{tag}><name>&e11;</name></{tag}>')
    with pytest.raises(UserError, match="refused, as the XML defines entities"):
        read(name=kind)


# LabelMe


def test_labelme_groups_are_one_object():
    picture("in/a.png")
    parts = [[[1, 1], [5, 1], [5, 5], [1, 5]], [[10, 10], [14, 10], [14, 14], [10, 14]]]
    labelme([shape("cat", part, group_id=3) for part in parts] + [shape("cat", [[20, 1], [24, 1], [24, 5]])])
    result = read()
    assert boxes(result)["a"] == [(1, 1, 14, 14, "cat"), (20, 1, 24, 5, "cat")]
    assert (drawn(result)["a"][1:5, 1:5] == 1).all() and (drawn(result)["a"][10:14, 10:14] == 1).all()
    assert not drawn(result)["a"][6:9, 6:9].any()


def test_labelme_flags_are_labels_of_images_where_no_file_has_shapes():
    for name in "ab":
        picture(f"in/{name}.png")
    labelme([], flags={"cat": True, "dog": False})
    labelme([], "in/b.json", flags={"cat": False, "dog": False})
    assert labels(read()) == {"a": ["cat"], "b": []}
    labelme([shape("dog", [[1, 1], [9, 1], [9, 9]])], flags={"cat": True})
    result = read()
    assert labels(result) == {"a": ["dog"], "b": []} and list(result.told.notes["flags"]) == ["cat"]


def test_labelme_words_for_no_class():
    """`__ignore__` is ignored, `_background_` is cut out of what lies below."""
    picture("in/a.png")
    square = [[2, 2], [12, 2], [12, 12], [2, 12]]
    hole, ignored = [[4, 4], [8, 4], [8, 8], [4, 8]], [[10, 10], [20, 10], [20, 16], [10, 16]]
    labelme([shape("cat", square), shape("_background_", hole), shape("__ignore__", ignored)])
    result = read()
    label = np.zeros((20, 30), np.uint8)
    label[2:12, 2:12] = 1
    label[4:8, 4:8] = 0
    label[10:16, 10:20] = 255
    np.testing.assert_array_equal(drawn(result)["a"], label)
    assert boxes(result)["a"] == [(2, 2, 12, 12, "cat")]


def test_labelme_finds_its_image_by_windows_paths_and_by_name():
    picture("in/pictures/a.png")
    picture("in/other/b.png")
    labelme([shape("cat", [[1, 1], [9, 9]], "rectangle")], "in/json/a.json", imagePath="..\\pictures\\a.png")
    labelme([shape("cat", [[9, 1], [1, 9]], "rectangle")], "in/json/b.json", imagePath="C:\\mine\\b.png")
    result = read()
    assert not faults(result) and boxes(result)["b"] == [(1, 1, 9, 9, "cat")]
    assert list(result.told.notes["moved"]) == ["other/b.png"]


def test_labelme_without_its_image():
    picture("in/z.png")
    labelme([shape("cat", [[1, 1], [9, 9]], "rectangle")], imageData="aGVsbG8=")
    with pytest.raises(UserError, match=r"the image 'a.png' is not below in.*labelme_export_json in/a.json"):
        read()


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (shape("cat", [[1, 1], [5, 5]], "polygon"), "polygon of 2 points"),
        (shape("cat", [[1, 1], [1, 5]], "rectangle"), "no area"),
        (shape("cat", [[1, 1], [5]], "rectangle"), "not pairs of numbers"),
        (shape("cat", [[1, 1], [5, 5]], "mask", mask="!!"), "cannot be read"),
        (shape("cat", [[1, 1], [5, 5]], "mask", mask="aGVsbG8="), "not an image"),
        (shape("cat", [[1, 1], [5, 5]], "spline"), "spline of 2 points is not known"),
    ],
)
def test_shapes_of_labelme_that_are_refused(one, message):
    picture("in/a.png")
    labelme([one])
    with pytest.raises(UserError, match=message):
        read()


# Label Studio


def task(results, name="a.png", **more) -> dict:
    return {"id": 1, "data": {"image": f"/data/upload/3/1a2b3c4d-{name}"}, "annotations": [{"result": results}]} | more


def result_of(kind, value, number="r", **more) -> dict:
    sizes = {"original_width": 30, "original_height": 20, "image_rotation": 0}
    return {"id": number, "type": kind, "from_name": "x", "to_name": "image", "value": value} | sizes | more


RECTANGLE = result_of(
    "rectanglelabels", {"x": 10, "y": 20, "width": 50, "height": 40, "rotation": 0, "rectanglelabels": ["cat"]}
)


def test_label_studio_choices_and_words_for_none():
    for name in "abc":
        picture(f"in/{name}.png")
    choices = [["cat", "dog"], ["none"], []]
    tasks = [
        task([result_of("choices", {"choices": chosen})] if chosen else [], f"{name}.png")
        for name, chosen in zip("abc", choices, strict=True)
    ]
    written("in/tasks.json", tasks)
    result = read()
    assert labels(result) == {"a": ["cat", "dog"], "b": [], "c": []}
    assert list(result.told.notes["background_word"]) == ["'none'"]


def test_label_studio_takes_the_ground_truth_and_no_prediction():
    for name in "ab":
        picture(f"in/{name}.png")
    other = result_of("choices", {"choices": ["dog"]})
    annotations = [
        {"result": [other], "was_cancelled": True},
        {"result": [other]},
        {"result": [RECTANGLE], "ground_truth": True},
    ]
    written(
        "in/tasks.json",
        [task([], annotations=annotations), task([], "b.png", annotations=[], predictions=[{"result": [RECTANGLE]}])],
    )
    result = read()
    assert boxes(result) == {"a": [(3, 4, 18, 12, "cat")]}
    assert {"several", "prediction", "unannotated"} <= set(result.told.notes)


def test_label_studio_rotated_rectangle_and_separate_labels():
    """A quarter turn clockwise about the upper left corner; label and geometry of one id belong together."""
    picture("in/a.png")
    value = {"x": 50, "y": 20, "width": 20, "height": 50, "rotation": 90}
    written("in/tasks.json", [task([result_of("rectangle", value), result_of("labels", value | {"labels": ["dog"]})])])
    result = read()
    assert boxes(result)["a"] == [(pytest.approx(5), pytest.approx(4), pytest.approx(15), pytest.approx(10), "dog")]
    label = np.zeros((20, 30), np.uint8)
    label[4:10, 5:15] = 1
    np.testing.assert_array_equal(drawn(result)["a"], label)


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (RECTANGLE | {"original_width": None}, "does not say how large its image is"),
        (RECTANGLE | {"image_rotation": 90}, "turned in the editor"),
        (RECTANGLE | {"original_width": 31}, "states an image of 31 x 20 pixels, a.png has 30 x 20"),
        (
            result_of("brushlabels", {"format": "rle", "rle": [0, 0, 1], "brushlabels": ["cat"]}),
            "a brush that is not of an image",
        ),
        (
            result_of("brushlabels", {"format": "rle", "rle": ["x"], "brushlabels": ["cat"]}),
            "a brush that is not of an image",
        ),
        (result_of("polygonlabels", {"points": [[1, 2], [3, None]], "polygonlabels": ["cat"]}), "lacks a number"),
    ],
)
def test_results_of_label_studio_that_are_refused(one, message):
    picture("in/a.png")
    written("in/tasks.json", [task([one])])
    with pytest.raises(UserError, match=message):
        read()


def test_a_damaged_brush_never_fails_otherwise():
    """Whatever is cut off or changed in a brush of the library, it is read or refused."""
    from workflow_scripts.data.imports.label_studio import _brush

    tasks = json.loads((FILES / "label_studio/tasks.json").read_text())
    (data,) = [
        one["value"]["rle"]
        for one in (each for t in tasks for each in t["annotations"][0]["result"])
        if "rle" in one["value"]
    ]
    np.testing.assert_array_equal(_brush(data, drawings.SIZES["c d.png"], ""), drawings.ring())
    rng = np.random.default_rng(0)
    for _ in range(200):
        changed = list(data)
        changed[rng.integers(len(changed))] = int(rng.integers(256))
        try:
            mask = _brush(changed[: rng.integers(1, len(changed) + 1)], drawings.SIZES["c d.png"], "")
        except UserError:
            continue
        assert mask.shape == drawings.SIZES["c d.png"]


# COCO


def coco(annotations, name="in/instances.json", images=("a.png",), categories=("cat", "dog")) -> None:
    entries = [
        {"id": number, "image_id": 1, "bbox": [1, 1, 8, 8], "iscrowd": 0, "category_id": 1} | one
        for number, one in enumerate(annotations, start=1)
    ]
    listed = [
        {"id": number, "file_name": file, "height": 20, "width": 30} for number, file in enumerate(images, start=1)
    ]
    named = [{"id": number, "name": one} for number, one in enumerate(categories, start=1)]
    written(name, {"images": listed, "annotations": entries, "categories": named})


def test_coco_crowds_lie_below_and_later_objects_above():
    picture("in/a.png")
    square = [[10, 2, 20, 2, 20, 12, 10, 12]]
    runs = rle.encode(np.asfortranarray(np.ones((20, 30), np.uint8)))
    crowd = {"segmentation": {"size": [20, 30], "counts": runs["counts"].decode()}, "iscrowd": 1, "category_id": 2}
    coco([{"segmentation": square}, crowd, {"segmentation": [[15, 2, 25, 2, 25, 12, 15, 12]], "category_id": 2}])
    label = np.full((20, 30), 2, np.uint8)
    label[2:12, 10:15] = 1
    np.testing.assert_array_equal(drawn(read())["a"], label)


def test_coco_files_of_splits_and_of_other_things():
    for split in ("train2017", "val2017"):
        picture(f"in/{split}/{split[0]}.png")
        coco([{}], f"in/annotations/instances_{split}.json", images=[f"{split[0]}.png"])
        coco([{}], f"in/annotations/person_keypoints_{split}.json", images=[f"{split[0]}.png"], categories=["person"])
    result = read()
    assert {name: row.split for name, row in rows(result).items()} == {"t": "train", "v": "val"}
    assert result.table.use == {"train": "train", "masks": "train", "evaluation": ["val"]}
    assert len(result.told.notes["other_file"]) == 2 and not faults(result)


def test_coco_of_unknown_images_and_names_that_fit_two():
    for name in ("in/x/a.png", "in/y/a.png", "in/b.png"):
        picture(name)
    coco([{}, {"image_id": 2}, {"image_id": 3}, {"image_id": 9}], images=["a.png", "b.png", "lost.png"])
    found = faults(read())
    assert any("'a.png' may be x/a.png and y/a.png" in one for one in found)
    assert any("'lost.png' is not below in" in one and "--images" in one for one in found)
    assert any("unknown image 9" in one for one in found)
    coco([{}, {"image_id": 2}], images=["y/a.png", "b.png"])
    assert list(labels(read())) == ["y_a", "b"] or list(labels(read())) == ["a", "b"]


# VOC


def voc(name, objects, size=(20, 30), **tags) -> None:
    inside = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for x0, y0, x1, y1, label in objects
    )
    more = "".join(f"<{key}>{value}</{key}>" for key, value in tags.items())
    written(
        name, f"<annotation>{more}<size><width>{size[1]}</width><height>{size[0]}</height></size>{inside}</annotation>"
    )


def test_voc_beside_its_images_with_folders_of_splits():
    """As Roboflow writes it; an annotation without an object shows none of the classes."""
    for split, name in (("train", "a"), ("valid", "b")):
        picture(f"in/{split}/{name}.png")
        voc(f"in/{split}/{name}.xml", [(2, 3, 10.5, 12, "my cat")] if name == "a" else [], filename=f"{name}.png")
    result = read()
    assert boxes(result) == {"a": [(2, 3, 10.5, 12, "my cat")], "b": []}
    assert [row.split for row in result.table.rows] == ["train", "val"]


def test_voc_lists_of_other_names():
    for name in "abc":
        picture(f"in/JPEGImages/{name}.png")
        voc(f"in/Annotations/{name}.xml", [(2, 3, 10, 12, "cat")])
    for name, ids in (("train", "a"), ("train_aug", "ab"), ("val", "c")):
        written(f"in/ImageSets/Segmentation/{name}.txt", "\n".join(ids))
    assert [row.split for row in read().table.rows] == ["train", "train", "val"]


def test_voc_of_another_size_is_a_fault():
    for name in "ab":
        picture(f"in/{name}.png")
        voc(
            f"in/{name}.xml",
            [(2, 3, 10, 12, "cat")],
            size=(20, 30) if name == "a" else (40, 60),
            filename=f"{name}.png",
        )
    (fault,) = faults(read())
    assert "states an image of 60 x 40 pixels, b.png has 30 x 20" in fault and "scale the boxes" in fault


# Folders of classes, tables


def test_folders_of_classes():
    for name in ("cat/1", "cat/deep/2", "dog/1", "none/3", "loose"):
        picture(f"in/{name}.png", seed=hash(name) % 1000)
    shutil.copy("in/cat/1.png", "in/cat/both.png")
    shutil.copy("in/cat/1.png", "in/dog/both.png")
    result = read()
    assert labels(result) == {"cat_1": ["cat"], "2": ["cat"], "both": ["cat", "dog"], "dog_1": ["dog"], "3": []}
    assert list(result.told.notes["loose"]) == ["loose.png"]


def test_folders_of_splits_of_classes():
    for name in ("train/cat/1", "train/dog/2", "test/cat/3"):
        picture(f"in/{name}.png")
    result = read()
    assert {name: row.split for name, row in rows(result).items()} == {"1": "train", "2": "train", "3": "test"}
    assert result.table.use["evaluation"] == ["test"] and list(result.table.classes) == ["cat", "dog"]


@pytest.mark.parametrize(
    "table",
    [
        "id,image,labels,boxes,split\nx 1,a.png,cat;dog,1 2 9 8 cat;2 2 12 12 dog,train\nx2,b.png,-,,val\n",
        "filename;class;set;remark\na.png;cat|dog;train;x\nb.png;none;val;y\n",
        "image_id,cat,dog\na,1,1\nb,0,0\n",
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,30,20,cat,1,2,9,8\na.png,30,20,dog,2,2,12,12\nb.png,30,20,-,,,,\n",
    ],
    ids=["own", "words", "columns of classes", "a row for a box"],
)
def test_tables(table):
    for name in "ab":
        picture(f"in/pictures/{name}.png")
    written("in/pictures/list.csv", table)
    result = read()
    assert result.format == "table" and not faults(result)
    assert list(labels(result).values()) == [["cat", "dog"], []]
    if "1 2 9 8" in table or "xmin" in table:
        assert list(boxes(result).values()) == [[(1, 2, 9, 8, "cat"), (2, 2, 12, 12, "dog")], []]
    if "id,image" in table:
        assert list(labels(result)) == ["x 1", "x2"]
    if "train" in table:
        assert [row.split for row in result.table.rows] == ["train", "val"]


def test_table_with_masks_that_are_there():
    """They stay where they are, and are compared with their labels."""
    for name in "abc":
        picture(f"in/{name}.png")
        label = np.zeros((20, 30), np.uint8)
        label[3:9, 3:9] = 2 if name == "b" else 1
        Path("in/masks").mkdir(exist_ok=True)
        Image.fromarray(label[:, :25] if name == "c" else label).save(f"in/masks/{name}.png")
    written(
        "in/t.csv",
        "image,labels,mask\n"
        + "".join(f"{n}.png,{c},masks/{n}.png\n" for n, c in zip("abc", ("cat", "dog", "cat"), strict=True)),
    )
    result = read(classes=("cat", "dog"))
    assert [row.mask.as_posix() for row in result.table.rows] == [f"in/masks/{name}.png" for name in "ab"]
    (fault,) = faults(result)
    assert "in/masks/c.png: 25 x 20 pixels, its image has 30 x 20" in fault
    assert "unnamed" not in result.told.notes
