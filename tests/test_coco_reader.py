"""The reader of COCO: what it returns, the one line of each fault, and its truth masks."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import refused
from pycocotools import mask as rle
from small_archives import HEIGHT, WIDTH, coco_files, instance, png
from small_images import one_fault

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.boxes import background_mask, boxes_of, objects_of
from workflow_scripts.data.index import Images, read_index, write_index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.kinds.coco import read_coco
from workflow_scripts.data.readers import json_lists
from workflow_scripts.data.readers.coco_file import CATEGORY_IDS, UNUSED, Outline
from workflow_scripts.data.readers.coco_masks import draw, map_values
from workflow_scripts.data.readers.coco_masks import truth as reader
from workflow_scripts.data.readers.coco_segmentation import encode, runs
from workflow_scripts.data.samples.box_samples import BoxSamples
from workflow_scripts.run.command import Job
from workflow_scripts.stages import index as index_stage
from workflow_scripts.stages import instance_truth, truth
from workflow_scripts.store.artifacts import Reader

CLASSES = ("cat", "dog")
TRAIN, VAL = "annotations/instances_train2014.json", "annotations/instances_val2014.json"
SPLITS = {"train": (TRAIN, "train2014"), "val": (VAL, "val2014")}
FILES = [list(pair) for pair in SPLITS.values()]
NAMES = [f"COCO_train2014_{number:012}" for number in range(4)]


@pytest.fixture
def root(tmp_path) -> Path:
    for files in coco_files():
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content)
    return tmp_path


def changed(root: Path, change, file: str = TRAIN) -> Path:
    """Change the content of an instances file by a function."""
    content = json.loads((root / file).read_text())
    (root / file).write_text(json.dumps(change(content) or content))
    return root / file


def faults(root: Path, change, *fragments) -> None:
    path = changed(root, change)
    one_fault(lambda: read_coco(root, CLASSES, SPLITS), root, path, *fragments)


def test_entries(root, capsys):
    crowd = instance(90, 1, 17, (0, 0, 5, 5), iscrowd=1)
    flat = instance(91, 1, 18, (3, 3, 4, 0))
    changed(root, lambda content: content["annotations"].extend([crowd, flat]))
    steps = []
    splits, entries = read_coco(root, CLASSES, SPLITS, progress=lambda done, total: steps.append((done, total)))
    assert splits == {"train": NAMES[:3], "val": [f"COCO_val2014_{number:012}" for number in range(2)]}
    assert [entry.id for entry in entries] == splits["train"] + splits["val"] and steps[-1] == (5, 5)
    first, second = entries[:2]
    assert first.image == str(root / "train2014" / f"{NAMES[0]}.jpg") and (first.height, first.width) == (HEIGHT, WIDTH)
    assert first.labels == (0,) and first.boxes.tolist() == [[4, 5, 14, 13, 0]]
    assert second.labels == (0, 1) and second.boxes.tolist() == [[4, 5, 14, 13, 1], [0, 0, 5, 5, 0]]
    assert (first.crowds, second.crowds) == ((), (1,))
    assert "4 images, 1 without an object; 1 boxes of crowds, 1 without area" in capsys.readouterr().out


def test_images_without_an_instance_can_be_negatives(root):
    kept, left_out = Faults(), Faults()
    splits, entries = read_coco(root, CLASSES, SPLITS, faults=kept, negatives=True)
    assert splits["train"] == NAMES  # the last one has none
    read_coco(root, CLASSES, SPLITS, faults=left_out)
    assert not [item for item in kept.findings if item.check == "left_out"]
    assert [item.identifier for item in left_out.findings if item.check == "left_out"] == [NAMES[3]]
    last = entries[len(NAMES) - 1]
    assert (last.id, last.labels, last.boxes.shape) == (NAMES[3], (), (0, 5))


def test_a_class_of_a_crowd_or_of_a_flat_box_alone(root, tmp_path):
    """It is labelled, so methods that learn from boxes have its box; single objects are the others."""
    crowd, flat = instance(90, 1, 17, (0, 0, 5, 5), iscrowd=1), instance(91, 0, 18, (3, 3, 4, 0))
    changed(root, lambda content: content["annotations"].extend([crowd, flat]))
    splits, entries = read_coco(root, CLASSES, SPLITS)
    assert entries[0].boxes.tolist() == [[4, 5, 14, 13, 0], [3, 3, 7, 4, 1]] and entries[0].crowds == ()
    write_index(tmp_path / "index.h5", "coco", CLASSES, entries, splits)
    index = read_index(tmp_path / "index.h5")
    first, second = splits["train"][:2]
    assert boxes_of(index, second).tolist() == [[4, 5, 14, 13, 1], [0, 0, 5, 5, 0]]
    assert objects_of(index, second).tolist() == [[4, 5, 14, 13, 1]] and len(objects_of(index, first)) == 2
    recipe = SimpleNamespace(scale=(1, 1), crop=HEIGHT, augment="worker")
    recipe.jitter = SimpleNamespace(brightness=0, contrast=0, saturation=0, hue=0)
    samples = BoxSamples(index, Images(index, None), "train", recipe, 0)
    for position in range(3):
        sample = samples[0, position]
        assert sample["boxes"].shape == (2, 5)
        covered = background_mask(index.boxes_of(splits["train"][position]), HEIGHT, WIDTH)
        assert sample["background"].sum() <= covered.sum()


def test_limit(root):
    assert read_coco(root, CLASSES, SPLITS, limit=1)[0] == {"train": NAMES[:1], "val": ["COCO_val2014_000000000000"]}


def test_the_order_of_the_lists_does_not_count(root):
    before = read_coco(root, CLASSES, SPLITS)[0]
    changed(root, lambda content: dict(reversed(content.items())))
    assert read_coco(root, CLASSES, SPLITS)[0] == before


def first(key: str, **change):
    return lambda content: content[key][0].update(change)


def again(key: str, **change):
    return lambda content: content[key].append(content[key][0] | change)


def a_cart(content) -> None:
    content["categories"].append({"id": 3, "name": "cart"})
    content["annotations"][0]["category_id"] = 3


def two_cats(content) -> None:
    content["categories"].append({"id": 19, "name": "cat"})
    content["annotations"].append(content["annotations"][0] | {"id": 99, "category_id": 19})


FAULTS = {
    "unknown category": (first("annotations", category_id=19), "unknown category 19, named by 1 annotation"),
    "unknown image": (first("annotations", image_id=77), "annotation 10: unknown image 77, named by 1 annotation"),
    "annotation twice": (again("annotations"), "annotation 10: the id occurs twice"),
    "image twice": (again("images"), "image 0: the id occurs twice"),
    "category twice": (again("categories"), "category 17 (cat) occurs twice"),
    "class twice": (two_cats, "category 19 (cat) occurs twice, also as 17"),
    "unknown class": (a_cart, "'cart' of 1 annotation", "'cat'"),
    "no id": (first("annotations", id=None), "annotations: 'id' is missing"),
    "id as words": (first("images", id="first"), "images: 'id' is missing or no whole number"),
    "id of a half": (first("annotations", image_id=0.5), "annotation 10: 'image_id' is missing or no whole number"),
    "id that is no number": (first("annotations", id=float("nan")), "annotations: 'id' is missing"),
    "crowd of words": (first("annotations", iscrowd="yes"), "annotation 10: 'iscrowd' is missing or no whole number"),
    "box of text": (first("annotations", bbox="all"), "annotation 10: bbox 'all' is not four numbers"),
    "box of three": (first("annotations", bbox=[1, 2, 3]), "bbox [1, 2, 3]"),
    "negative box": (first("annotations", bbox=[1, 2, -3, 4]), "not four numbers x y width height"),
    "box that is no number": (first("annotations", bbox=[1, float("nan"), 3, 4]), "not four numbers x y width height"),
    "no box and no outline": (
        first("annotations", bbox=None, segmentation=[]),
        "annotation 10: has neither bbox nor seg",
    ),
    "no box and two points": (first("annotations", bbox=[], segmentation=[[1, 2, 3, 4]]), "has neither bbox nor seg"),
    "no box and no pixel": (
        first("annotations", bbox=None, segmentation={"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}),
        "annotation 10: has neither bbox nor seg",
    ),
    "no box and runs of another image": (
        first("annotations", bbox=None, segmentation={"size": [4, 5], "counts": [4, 2, 14]}),
        "annotation 10: its segmentation is of an image of 5 x 4 pixels, but image 0 states 30 x 20",
    ),
    "no box and text": (
        first("annotations", bbox=None, segmentation="all"),
        "annotation 10: has no bbox",
        "segmentation",
    ),
    "box outside": (first("annotations", bbox=[1, 2, 300, 4]), f"image '{NAMES[0]}'", "outside the image of 30 x 20"),
    "width of another image": (first("images", width=60), f"image '{NAMES[0]}'", "60 x 20", "has 30 x 20"),
    "turned": (first("images", width=HEIGHT, height=WIDTH), "20 x 30", "has 30 x 20"),
    "width of half a pixel": (first("images", width=29.5), "image 0: 'width' is missing or no whole number"),
    "file name missing": (first("images", file_name=None), "image 0: file_name None is no name"),
    "file name of a number": (first("images", file_name=7), "image 0: file_name 7 is no name"),
    "one file name": (again("images", id=9), f"images 0 and 9 both have file_name '{NAMES[0]}.jpg'"),
    "one file name of two systems": (
        lambda content: content["images"].extend(
            [{"id": 8, "file_name": "a/b.jpg"}, {"id": 9, "file_name": ".\\a\\b.jpg"}]
        ),
        "images 8 and 9 both have file_name 'a/b.jpg'",
    ),
    "element that is no object": (lambda content: content["annotations"].append(3), "'id' is missing"),
}


@pytest.mark.parametrize("case", FAULTS.values(), ids=FAULTS)
def test_faults(root, case):
    change, *fragments = case
    with pytest.raises(UserError) as caught:
        read_coco(changed(root, change).parent.parent, CLASSES, SPLITS)
    lines = str(caught.value).splitlines()[1:]
    assert any(all(fragment in line for fragment in fragments) for line in lines)
    assert len(lines) <= 1 + ("images: 'id'" in lines[0])  # an image without an id is unknown to its annotation


def test_an_image_of_two_files(root):
    splits = SPLITS | {"again": (VAL, "train2014")}
    changed(root, lambda content: content["images"][0].update(file_name=f"{NAMES[0]}.jpg"), VAL)
    changed(root, lambda content: content["images"][1].update(file_name=f"{NAMES[1]}.jpg"), VAL)
    with pytest.raises(
        UserError, match=f"image 'train2014__{NAMES[0]}' is also in .*train2014.json; take it out of one"
    ):
        read_coco(root, CLASSES, splits)


def test_a_missing_image_and_a_broken_one(root):
    (root / "train2014" / f"{NAMES[0]}.jpg").unlink()
    (root / "train2014" / f"{NAMES[1]}.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match="2 faults\n.*missing.*\n.*not an image"):
        read_coco(root, CLASSES, SPLITS)


# JSON

TEXTS = {
    "empty": ("", "holds no JSON object"),
    "a list": ("[1]", "holds no JSON object"),
    "a number": ("3", "holds no JSON object"),
    "cut off": ('{"images": [{"id": 1}, {"id"', "broken JSON near character"),
    "no end": ('{"images": []', "broken JSON"),
    "no comma": ('{"images": [1 2]}', "broken JSON"),
    "more after the end": ('{"images": [], "annotations": [], "categories": []} x', "more text after its end"),
    "nested": ('{"images": ' + "[" * 100_000, "broken JSON"),
    "key missing": ('{"images": [], "categories": []}', "has no 'annotations'"),
    "no list": ('{"images": {}, "annotations": [], "categories": []}', "'images' is no list"),
    "not JSON": ("{images: []}", "broken JSON"),
}


@pytest.mark.parametrize(("text", "message"), TEXTS.values(), ids=TEXTS)
def test_broken_json(root, text, message):
    (root / TRAIN).write_text(text)
    refused(lambda: read_coco(root, CLASSES, SPLITS), root / TRAIN, message)


def test_json_that_is_not_there_or_no_text(root):
    (root / TRAIN).write_bytes(b'{"images": ["\xff"]}')
    refused(lambda: read_coco(root, CLASSES, SPLITS), root / TRAIN, "UTF-8")
    (root / TRAIN).unlink()
    refused(lambda: read_coco(root, CLASSES, SPLITS), root / TRAIN, "missing")


@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
def test_elements_that_lie_across_the_blocks_of_a_file(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_lists, "CHUNK", chunk)
    content = {"a": [1234, -5.5e3, 'x]},\\"', None, {"b": [[1], 2]}], "c": {"a": [9]}, "n": 123, "d": [], "e": [[0.5]]}
    path = tmp_path / "x.json"
    for text in (json.dumps(content), json.dumps(content, indent=2), json.dumps(content, separators=(",", ":"))):
        path.write_text(text)
        assert list(json_lists.read_lists(path, ["a", "d", "e"])) == [
            *(("a", item) for item in content["a"]),
            ("e", [0.5]),
        ]


def test_an_endless_element(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lists, "CHUNK", 10)
    monkeypatch.setattr(json_lists, "LARGEST", 100)
    path = tmp_path / "x.json"
    path.write_text('{"a": ["' + "x" * 300 + '"]}')
    refused(lambda: list(json_lists.read_lists(path, ["a"])), path, "broken JSON near character 7")


# Truth


def square(label: int, x: int, y: int, size: int, crowd: bool = False):
    polygon = [x, y, x + size, y, x + size, y + size, x, y + size]
    encoded = encode([polygon], (HEIGHT, WIDTH), "x")
    return Outline(label - 1, crowd, (x, y, x + size, y + size), size**2, encoded)


def test_overlapping_instances_and_crowds():
    large, small = square(1, 2, 2, 10), square(2, 4, 4, 4)
    size = (HEIGHT, WIDTH)
    assert draw([large, small], size, "class", "later")[5, 5] == 2
    assert draw([small, large], size, "class", "later")[5, 5] == 1
    assert draw([small, large], size, "class", "smaller")[5, 5] == 2
    for order in ([small, large], [large, small]):
        label = draw(order, size, "class", "ignore")
        assert label[5, 5] == 255 and label[2, 2] == 1 and (label == 255).sum() == 16
    assert (draw([large, square(1, 4, 4, 4)], size, "class", "ignore") == 1).sum() == 100  # of one class: no conflict
    crowd = square(2, 0, 0, 15, crowd=True)
    for order in ([crowd, large], [large, crowd]):
        assert draw(order, size, "class", "ignore")[5, 5] == 1 and draw(order, size, "class", "ignore")[14, 14] == 2
        assert draw(order, size, "ignore", "later")[14, 14] == 255
    np.testing.assert_array_equal(draw([], size, "class", "later"), np.zeros(size, np.uint8))


def test_segmentations_of_every_kind_are_equal():
    inside = np.zeros((HEIGHT, WIDTH), np.uint8)
    inside[5:13, 4:14] = 1
    text = rle.encode(np.asfortranarray(inside))["counts"].decode()
    counts = runs(text)
    assert sum(counts) == HEIGHT * WIDTH
    forms = (
        [[4, 5, 14, 5, 14, 13, 4, 13]],
        [[4, 5, 9, 5, 9, 13, 4, 13], [9, 5, 14, 5, 14, 13, 9, 13], [1, 1, 2, 2]],
        {"size": [HEIGHT, WIDTH], "counts": text},
        {"size": [HEIGHT, WIDTH], "counts": counts},
    )
    for form in forms:
        np.testing.assert_array_equal(rle.decode(encode(form, (HEIGHT, WIDTH), "x")), inside)


def test_runs_as_text():
    rng = np.random.default_rng(0)
    for share in rng.random(20):
        inside = np.asfortranarray(rng.random((30, 41)) < share).astype(np.uint8)
        inside[:, 10:20] = 1
        encoded = rle.encode(np.asfortranarray(inside))
        again = rle.frPyObjects({"size": [30, 41], "counts": runs(encoded["counts"].decode())}, 30, 41)
        assert again["counts"] == encoded["counts"]


SEGMENTATIONS = {
    "nothing": None,
    "text": "all",
    "far outside": [[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]],
    "odd polygon": [[1, 2, 3, 4, 5, 6, 7]],
    "polygon of text": [["1", "2", "3", "4", "5", "6"]],
    "polygon that is none": [[1, 2, 3, 4, float("nan"), 6]],
    "another size": {"size": [5, 5], "counts": [25]},
    "too few runs": {"size": [HEIGHT, WIDTH], "counts": [10, 5]},
    "too many runs": {"size": [HEIGHT, WIDTH], "counts": [10**6]},
    "negative runs": {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH + 5, -5]},
    "too few in text": {"size": [HEIGHT, WIDTH], "counts": "04"},
    "too many in text": {"size": [HEIGHT, WIDTH], "counts": "zzzzz0zzzz"},
    "text of other signs": {"size": [HEIGHT, WIDTH], "counts": "\u00e4\u00e4"},
    "text cut off": {"size": [HEIGHT, WIDTH], "counts": "PPPPPP"},
}


@pytest.mark.parametrize("segmentation", SEGMENTATIONS.values(), ids=SEGMENTATIONS)
def test_segmentations_that_are_none(segmentation):
    refused(
        lambda: encode(segmentation, (HEIGHT, WIDTH), "a.json, annotation 3"), "a.json, annotation 3", "image", "0 x "
    )


@pytest.fixture
def index(root, tmp_path):
    members, entries = read_coco(root, CLASSES, SPLITS)
    write_index(str(tmp_path / "index.h5"), "coco", CLASSES, entries, members)
    return read_index(str(tmp_path / "index.h5"))


def settings(root: Path, **changes) -> SimpleNamespace:
    about = {"maps": [], "unlabelled": "ignore", "crowd": "class", "overlap": "later", "splits": ["train", "val"]}
    return SimpleNamespace(**about | {"root": str(root), "files": FILES} | changes)


def test_the_truth_of_instances(root, index):
    read = reader(settings(root), index, Faults())
    for number, identifier in enumerate(index.split("train")):
        label = read(identifier)["label"]
        assert label.dtype == np.uint8 and label.shape == (HEIGHT, WIDTH)
        assert np.unique(label[5:13, 4:14]).tolist() == [1 + number % 2] and (label > 0).sum() == 80


def test_a_broken_segmentation_is_named(root, index):
    path = changed(root, first("annotations", segmentation=[[1, 2, 3]]))
    one_fault(lambda: reader(settings(root), index, Faults()), root, f"{path}, annotation 10")


def as_published(content) -> None:
    """Decimals, corners rounded over the edge, overlaps, a crowd in runs, boxes without area, a wide area."""
    runs_of = {"size": [HEIGHT, WIDTH], "counts": [45, 7, 13, 7, 13, 7, HEIGHT * WIDTH - 92]}
    over = [20.37, -0.41, 30.62, 3.3, 29.9, 20.55, 21.04, 14.87]
    content["annotations"] += [
        instance(90, 1, 17, (3.12, 4.9, 11.33, 6.07), area=61.25),
        instance(91, 1, 18, (20.37, -0.41, 10.25, 20.96), segmentation=[over], area=93.7),
        instance(92, 1, 17, (2, 5, 3, 7), segmentation=runs_of, iscrowd=1),
        instance(93, 1, 18, (3, 3, 4, 0)),
        instance(94, 2, 18, (29, 19, 0, 0)),
        instance(
            95, 2, 18, (7.5, 2.25, 9.5, 16.5), segmentation=[[7.5, 2.25, 17, 9, 12, 18.75], [20, 1, 23, 1, 23, 4]]
        ),
    ]


def digest(*columns: object) -> str:
    total = hashlib.sha256()
    for column in columns:
        array = isinstance(column, np.ndarray)
        total.update(repr((column.dtype.str, column.shape, column.tobytes()) if array else column).encode())
    return total.hexdigest()[:16]


def digest_of(path: str, schema: str, ids: list[str]) -> str:
    """Of all that an artifact holds."""
    held = Reader(path, schema, "coco")
    return digest(*(part for name in ids for item in sorted(held.read(name).items()) for part in item))


def job(settings: dict, inputs: dict, outputs: dict) -> Job:
    settings, *files = (namespace(item) for item in (settings, inputs, outputs))
    return Job(settings, *files, 1, "")


def namespace(about: dict) -> SimpleNamespace:
    return json.loads(json.dumps(about), object_hook=lambda item: SimpleNamespace(**item))


def test_what_is_published_is_read_as_ever(root, monkeypatch):
    """Digests of what the reader made before it took what other tools export, images' own left out."""
    monkeypatch.chdir(root)
    changed(root, as_published)
    settings = {"dataset": "coco", "kind": "coco", "classes": list(CLASSES), "root": "."}
    splits = {
        name: {"ids": file, "folder": folder, "count": None, "of": None, "labelled": True}
        for name, (file, folder) in SPLITS.items()
    }
    about = {"splits": splits, "split_order": list(splits), "limit": None, "unannotated": "left_out"}
    index_stage.main(job(settings | about, {"images": None}, {"index": "index.h5", "findings": "index.json"}))
    index = read_index("index.h5")
    columns = (index.sizes, index.labels, index.boxes, index.crowds, index.box_offsets)
    found = {"index": digest(index.ids, index.images, *columns, *index.splits.values())}
    settings |= {"splits": list(SPLITS), "files": FILES, "maps": [], "unlabelled": "ignore"}
    for crowd, overlap in (("class", "later"), ("ignore", "smaller"), ("class", "ignore")):
        about = {"crowd": crowd, "overlap": overlap}
        truth.main(
            job(
                settings | about,
                {"index": "index.h5", "rendered": None},
                {"truth": "truth.h5", "findings": "truth.json"},
            )
        )
        found[overlap] = digest_of("truth.h5", "truth", index.ids)
    instance_truth.main(job(settings, {"index": "index.h5", "rendered": None}, {"truth": "instances.h5"}))
    assert found | {"instances": digest_of("instances.h5", "instances", index.ids)} == {
        "index": "a39afdcd60e9fc64",
        "later": "8bab126f679a383c",
        "smaller": "8a413bc8c80eede1",
        "ignore": "e97ee14a72fdcc8f",
        "instances": "88565fabb20845a7",
    }


def test_category_ids(shipped):
    """As the config lists the classes, so COCO numbers its categories, with gaps."""
    classes = Config(shipped).dataset("coco").classes
    assert len(classes) == len(CATEGORY_IDS) == 80 and not set(UNUSED) & set(CATEGORY_IDS)
    numbers = dict(zip(classes, CATEGORY_IDS, strict=True))
    assert (numbers["person"], numbers["stop sign"], numbers["backpack"], numbers["toothbrush"]) == (1, 13, 27, 90)
    assert (numbers["wine glass"], numbers["dining table"], numbers["toilet"], numbers["tv"]) == (46, 67, 70, 72)


def test_values_of_pixel_maps():
    values = map_values(80, "ignore", "maps")
    assert (values[0], values[10], values[12], values[89], values[255]) == (1, 11, 12, 80, 255)
    assert values[11] == values[90] == values[91] == values[181] == 0  # unused, stuff
    assert map_values(80, "background", "maps")[255] == 0
    refused(lambda: map_values(2, "ignore", "here"), "here", "80 classes")


def test_pixel_maps_by_id_or_number(root, index, monkeypatch):
    from workflow_scripts.data.readers import coco_masks

    monkeypatch.setattr(coco_masks, "CATEGORY_IDS", (17, 18))
    stuff = np.full((HEIGHT, WIDTH), 120, np.uint8)
    stuff[:3], stuff[3:6], stuff[6:9] = 16, 17, 255
    (root / "maps/a").mkdir(parents=True)
    (root / "maps/b").mkdir()
    (root / "maps/b/000000000001.png").write_bytes(png(stuff))
    (root / f"maps/a/{NAMES[0]}.png").write_bytes(png(stuff))
    read = reader(settings(root, maps=["maps/a", "maps/b"]), index, Faults())
    for identifier in NAMES[:2]:
        label = read(identifier)["label"]
        assert [label[row, 0] for row in (0, 3, 6, 9)] == [1, 2, 255, 0]
    refused(lambda: read(NAMES[2]), "maps/a", NAMES[2], "missing")
