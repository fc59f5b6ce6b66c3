"""Exported masks: VOC's layout, COCO's JSON, CVAT's archive, Label Studio's tasks; and back again by rule `folder`."""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import refused
from defusedxml import ElementTree
from PIL import Image
from pycocotools import mask as runs
from pycocotools.coco import COCO

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.commands import export
from workflow_scripts.data import coco_regions
from workflow_scripts.data.index import read_index, write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.data.maps import upsampled
from workflow_scripts.data.readers import labelmap
from workflow_scripts.data.readers.mask_folder import open_masks
from workflow_scripts.look import pictures
from workflow_scripts.store.artifacts import Reader, create

CLASSES = ("bird", "cat", "traffic light")
IDS, SIZE = ["a", "b", "c"], (20, 30)
ABOUT = {"dataset": "toy", "split": "all", "classes": CLASSES}


def label_of(number: int) -> np.ndarray:
    """Noise of all classes, with ignored pixels but in `c`, which is one class everywhere."""
    label = np.random.default_rng(number).integers(0, 4, SIZE).astype(np.uint8)
    label[:2] = 255
    return label if number < 2 else np.full(SIZE, 3, np.uint8)


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Path:
    """results/toy with masks, soft predictions and images: one from a file of another name, two rendered."""
    monkeypatch.chdir(tmp_path)
    root, random = Path("results/toy"), np.random.default_rng(9)
    Image.fromarray(random.integers(0, 256, (*SIZE, 3), np.uint8)).save("IMG_7.JPG")
    entries = []
    with (
        create(root / "seed-0/masks/eps.h5", "mask", **ABOUT) as masks,
        create(root / "seed-0/predictions/eps/fov/soft.h5", "prediction", **ABOUT) as soft,
    ):
        for number, identifier in enumerate(IDS):
            masks.put(identifier, label=label_of(number))
            soft.put(identifier, scores=random.random((4, 5, 8)).astype(np.float16))
            path = f"{identifier}.png" if number else "IMG_7.JPG"
            if number:
                Image.fromarray(random.integers(0, 256, (*SIZE, 3), np.uint8)).save(path)
            entries.append(Entry(identifier, path, *SIZE, file_sha256(path), (0,), np.zeros((0, 5), np.float32)))
    write_index(str(root / "index.h5"), "toy", CLASSES, entries, {"train": IDS[:2], "val": IDS[2:]})
    return root


def run(artifact: str, kind: str, out: str, *more: str) -> Path:
    export.main([f"results/toy/seed-0/{artifact}", "--format", kind, "--out", out, *more])
    return Path(out)


def test_layout_of_voc(toy, capsys):
    out = run("masks/eps.h5", "voc", "voc")
    assert "1 masks are named after ids, not after their images' files, 'a' first" in capsys.readouterr().out
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    lists = [f"ImageSets/Segmentation/{name}.txt" for name in ("train", "val")]
    assert files == [*lists, *(f"SegmentationClass/{name}.png" for name in IDS), "labelmap.txt"]
    assert (out / lists[0]).read_text() == "a\nb\n" and (out / lists[1]).read_text() == "c\n"
    image = Image.open(out / "SegmentationClass/a.png")
    assert image.mode == "P" and image.getpalette() == pictures.PALETTE.ravel().tolist()
    np.testing.assert_array_equal(np.asarray(image), label_of(0))
    assert (out / "labelmap.txt").read_text().splitlines() == [
        *("# label:color_rgb:parts:actions", "background:0,0,0::", "bird:128,0,0::", "cat:0,128,0::"),
        *("traffic light:128,128,0::", "ignored:224,224,192::"),
    ]


def test_archive_of_cvat(toy, capsys):
    """Values are places in the list of labels, as Datumaro reads gray masks; what is no object is not annotated."""
    out = run("masks/eps.h5", "cvat", "masks.zip")
    assert "labels: bird, cat, traffic light, ignored\n" in capsys.readouterr().out
    with zipfile.ZipFile(out) as archive:
        names = archive.namelist()
        assert archive.read("ImageSets/Segmentation/default.txt") == b"a\nb\nc\n"
        labels = labelmap.parsed(archive.read("labelmap.txt").decode(), "")
        of_class, of_object = (
            {i: Image.open(io.BytesIO(archive.read(f"{folder}/{i}.png"))) for i in IDS}
            for folder in ("SegmentationClass", "SegmentationObject")
        )
    assert sorted(names)[-1] == "labelmap.txt" and len(names) == 8
    assert [name for name, _ in labels] == ["background", *CLASSES, "ignored"]
    for number, identifier in enumerate(IDS):
        values = np.where(label_of(number) == 255, 4, label_of(number))
        np.testing.assert_array_equal(np.asarray(of_class[identifier]), values)
        colours = np.array([colour for _, colour in labels])[values]
        np.testing.assert_array_equal(np.asarray(of_class[identifier].convert("RGB")), colours)
        objects = np.asarray(of_object[identifier])
        assert (objects == 0).sum() == (values == 0).sum()
        assert len(np.unique(np.stack([values, objects]).reshape(2, -1), axis=1).T) == len(np.unique(values))
    assert np.unique(np.asarray(of_object["c"])).tolist() == [1]


def test_json_of_coco(toy):
    path = run("masks/eps.h5", "coco", "masks.json")
    about = json.loads(path.read_text())
    assert [image["file_name"] for image in about["images"]] == ["IMG_7.JPG", "b.png", "c.png"]
    data = COCO(str(path))
    assert {c["id"]: c["name"] for c in data.loadCats(data.getCatIds())} == dict(enumerate([*CLASSES, "ignored"], 1))
    for number in range(3):
        label = np.zeros(SIZE, np.uint8)
        for entry in data.loadAnns(data.getAnnIds(imgIds=number + 1)):
            inside = data.annToMask(entry).astype(bool)
            assert entry["area"] == inside.sum() and not label[inside].any()
            rows, columns = np.nonzero(inside)
            assert entry["bbox"] == [
                *(columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1),
            ]
            label[inside] = entry["category_id"]
        np.testing.assert_array_equal(label, np.where(label_of(number) == 255, 4, label_of(number)))


def test_names_of_files_tell_images_apart():
    """Those in two folders have the folder in front, so that the file can be read again."""
    paths = {"a": "x/2021/1.png", "b": "x/2022/1.png", "c": "x/2022/c.png"}
    named = coco_regions.file_names(SimpleNamespace(ids=list(paths), images=list(paths.values())))
    assert named == {"a": "2021/1.png", "b": "2022/1.png", "c": "2022/c.png"}
    named = coco_regions.file_names(SimpleNamespace(ids=["b", "c", "d"], images=["x/2022/1.png", "x/2022/c.png", ""]))
    assert named == {"b": "1.png", "c": "c.png", "d": "d.png"}


def test_entries_of_coco():
    mask = np.zeros((3, 4), bool)
    mask[1, 1:3] = True
    entry = coco_regions.annotation(7, 2, 5, mask, score=0.5)
    counts = entry["segmentation"].pop("counts")
    assert entry == {
        **{"id": 7, "image_id": 2, "category_id": 5, "iscrowd": 0, "segmentation": {"size": [3, 4]}},
        **{"area": 2, "bbox": [1.0, 1.0, 2.0, 1.0], "score": 0.5},
    }
    # Columns first: four pixels outside, one inside, two outside, one inside, four outside.
    assert runs.frPyObjects({"size": [3, 4], "counts": [4, 1, 2, 1, 4]}, 3, 4)["counts"] == counts.encode()
    assert coco_regions.image_numbers(["COCO_val2014_000000000042", "000000000009"]) == [42, 9]
    assert coco_regions.image_numbers(["COCO_val2014_000000000042", "b"]) == [1, 2]
    assert coco_regions.image_numbers(["x_42", "000000000042"]) == [1, 2]
    assert json.loads("".join(coco_regions.document(["a"], [], [])))["annotations"] == []


def submitted(tasks: Path, out: str = "export.json") -> Path:
    """What Label Studio exports as JSON once each prediction was submitted as it was."""
    about = json.loads(tasks.read_text())
    for number, task in enumerate(about, start=1):
        (prediction,) = task.pop("predictions")
        task |= {"id": number, "annotations": [{"id": 9, "was_cancelled": False, "result": prediction["result"]}]}
    Path(out).write_text(json.dumps(about))
    return Path(out)


def turned_by_its_flag(root: Path) -> None:
    """Image `b` becomes a file that is stored upright and shown lying, by EXIF orientation 6."""
    index, exif = read_index(str(root / "index.h5")), Image.Exif()
    exif[0x0112] = 6
    stored = np.random.default_rng(5).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    Image.fromarray(stored).save("b.jpg", exif=exif)
    entries = [
        Entry(
            name,
            "b.jpg" if name == "b" else path,
            *SIZE,
            file_sha256("b.jpg" if name == "b" else path),
            (0,),
            np.zeros((0, 5)),
        )
        for name, path in zip(IDS, index.images, strict=True)
    ]
    write_index(str(root / "index.h5"), "toy", CLASSES, entries, {"train": IDS[:2], "val": IDS[2:]})


FORMATS = {"voc": "voc", "cvat": "masks.zip", "coco": "masks.json", "labelstudio": "tasks"}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_exported_is_read_again(toy, kind, turned):
    """Not a pixel changes, 255 and turned photographs included."""
    if turned:
        turned_by_its_flag(toy)
    path = run("masks/eps.h5", kind, FORMATS[kind], *(["--images"] if kind in ("voc", "cvat") else []))
    path = submitted(path / "tasks.json") if kind == "labelstudio" else path
    index = read_index(str(toy / "index.h5"))
    masks = open_masks(path, index)
    masks.check_names(IDS, IDS)
    assert len(masks) == 3
    for number, identifier in enumerate(IDS):
        np.testing.assert_array_equal(masks.read(identifier, SIZE), label_of(number))
    # The classes of another order go by their names.
    other = open_masks(path, replace(index, classes=CLASSES[::-1])).read("b", SIZE)
    np.testing.assert_array_equal(other, np.array([0, 3, 2, 1, *[0] * 251, 255], np.uint8)[label_of(1)])


def test_folder_of_label_studio(toy):
    turned_by_its_flag(toy)
    out = run("masks/eps.h5", "labelstudio", "to do", "--ids", "b", "a")
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()) == [
        *("JPEGImages/a.jpg", "JPEGImages/b.png", "labels.xml", "tasks.json"),
    ]
    shown = np.asarray(Image.open(out / "JPEGImages/b.png"))
    assert shown.shape == (*SIZE, 3) and not Image.open(out / "JPEGImages/b.png").getexif()
    tasks = json.loads((out / "tasks.json").read_text())
    assert [task["data"] for task in tasks] == [
        {"id": "b", "image": "/data/local-files/?d=to%20do/JPEGImages/b.png"},
        {"id": "a", "image": "/data/local-files/?d=to%20do/JPEGImages/a.jpg"},
    ]
    (prediction,) = tasks[0]["predictions"]
    assert prediction["model_version"] == "eps" and len(prediction["result"]) == 4
    region = prediction["result"][1]
    assert region["value"].pop("rle")[:4] == [0, 0, 9, 96]  # 4 values of 20 x 30 pixels
    assert region == {
        **{"id": "region2", "from_name": "label", "to_name": "image", "type": "brushlabels"},
        **{"original_width": 30, "original_height": 20, "image_rotation": 0},
        "value": {"format": "rle", "brushlabels": ["cat"]},
    }
    labels = (
        ElementTree.parse(out / "labels.xml").getroot().findall("BrushLabels[@name='label'][@toName='image']/Label")
    )
    assert [(label.get("value"), label.get("background")) for label in labels] == [
        *(("bird", "#800000"), ("cat", "#008000"), ("traffic light", "#808000"), ("ignored", "#e0e0c0")),
    ]


def test_soft_predictions_some_ids_and_images(toy):
    out = run("predictions/eps/fov/soft.h5", "voc", "soft", "--ids", "b", "a", "--images")
    soft = Reader(toy / "seed-0/predictions/eps/fov/soft.h5", "prediction")
    expected = upsampled(soft.read("a")["scores"], *SIZE).argmax(axis=0)
    np.testing.assert_array_equal(np.asarray(Image.open(out / "SegmentationClass/a.png")), expected)
    assert (out / "JPEGImages/a.jpg").read_bytes() == Path("IMG_7.JPG").read_bytes()
    assert sorted(path.name for path in (out / "SegmentationClass").iterdir()) == ["a.png", "b.png"]
    assert not (out / "ImageSets/Segmentation/val.txt").exists()


def test_equal_masks_are_equal_bytes(toy):
    for kind in ("coco", "cvat"):
        first, second = (run("masks/eps.h5", kind, f"{name}.{kind}").read_bytes() for name in "xy")
        assert first == second


def exported(artifact: str = "masks/eps.h5", kind: str = "voc", out: str = "out", **more):
    options = {"ids": None, "images": False, "results": None} | more
    return lambda: export.export(Path("results/toy/seed-0") / artifact, kind, Path(out), *options.values())


def test_mistakes_leave_nothing(toy, monkeypatch):
    before = sorted(Path().rglob("*"))
    refused(exported("masks/no.h5"), "no.h5", "run snakemake")
    refused(exported("../index.h5"), "index.h5", "'index'", "expected masks")
    refused(exported(ids=["d"]), "'d'", "nearest known id")
    refused(exported(kind="coco", images=True), "--images", "voc, cvat or labelstudio")
    refused(exported(out="results"), "--out results", "exists")
    with create(toy / "seed-0/masks/wrong.h5", "mask", **ABOUT) as masks:
        masks.put("a", label=np.zeros(SIZE, np.uint8))
        masks.put("b", label=np.zeros((3, 3), np.uint8))
    (toy / "seed-0/masks/wrong.h5").rename("wrong.h5")
    for kind in ("voc", "cvat", "coco"):
        refused(exported("../../../wrong.h5", kind, results=Path("results")), "wrong.h5", "'b'", "not as large")
    with create("results/toy/x.h5", "mask", **ABOUT) as masks:
        masks.put("..", label=np.zeros(SIZE, np.uint8))
    refused(exported("../x.h5"), "'..'")
    assert sorted(Path().rglob("*")) == sorted([*before, Path("wrong.h5"), Path("results/toy/x.h5")])


def test_labels_that_the_list_cannot_hold():
    for names in (["a:b"], ["#a"], ["background", "background"], ["a\nb"]):
        refused(lambda names=names: labelmap.written(names, pictures.PALETTE[: len(names)]), "labelmap.txt", "coco")


@pytest.mark.parametrize(
    ("line", "fragment"),
    [
        ("cat", "'cat' is not like"),
        ("cat:1,2,3", "is not like"),
        ("cat:1,2::", "is not like"),
        ("cat:1,2,256::", "is not like"),
        ("cat:1,2,x::", "is not like"),
        ("dog:4,5,6::", "listed before"),
        ("cat:1,2,3::", "listed before"),
    ],
)
def test_a_broken_list_of_labels(line, fragment):
    refused(lambda: labelmap.parsed(f"# comment\ndog:1,2,3::\n\n{line}\n", "labelmap.txt"), "line 4", fragment)
