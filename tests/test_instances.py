"""Instance masks from boxes, their artifact, COCO's JSON, true instances of every kind of data, mask AP."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import put, refused
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.io import savemat

from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.index import read_index, write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.data.instances import Instances, from_masks
from workflow_scripts.data.readers import coco_masks, voc_masks
from workflow_scripts.data.synthetic.synthetic import render_scene
from workflow_scripts.evaluation.mask_ap import MEASURES, average_precision
from workflow_scripts.look.schemas import SCHEMAS
from workflow_scripts.refine.boxed_instances import boxed_instances
from workflow_scripts.run.command import Job
from workflow_scripts.stages import coco_json, instance_truth, mask_ap, precision
from workflow_scripts.stages import instances as stage
from workflow_scripts.store.artifacts import Reader, create

SIZE = (40, 52)


def disc(row: float, column: float, radius: float, size: tuple[int, int] = SIZE) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


def masks(instances: Instances, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    return [instances.mask(row, *size) for row in range(len(instances))]


# --- masks from boxes -------------------------------------------------------------------------------------------------


def test_a_mask_has_its_class_inside_its_box():
    label = np.zeros(SIZE, np.uint8)
    label[5:20, 5:20], label[12:30, 12:40], label[0, 0] = 3, 1, 3
    boxes = np.array([[4, 6, 18, 22, 2], [12, 12, 40, 30, 0]], np.float32)
    first, second = masks(boxed_instances(label, boxes))
    inside = np.zeros(SIZE, bool)
    inside[6:22, 4:18] = True
    assert ((first == 1) == (inside & (label == 3))).all() and ((second == 1) == (label == 1)).all()


def test_overlapping_boxes_of_one_class():
    """Both have what they share, or the smaller box alone; what is unreliable is so for both."""
    label = np.ones((12, 12), np.uint8)
    label[5, 5] = 255
    boxes = np.array([[2, 2, 8, 8, 0], [0, 0, 12, 7, 0]], np.float32)
    small, large = masks(boxed_instances(label, boxes, "both"), (12, 12))
    assert (small == 1).sum() == 35 and (large == 1).sum() == 83 and small[5, 5] == large[5, 5] == 255
    small, large = masks(boxed_instances(label, boxes, "smaller"), (12, 12))
    assert (small == 1).sum() == 35 and (large == 1).sum() == 84 - 30 and small[5, 5] == large[5, 5] == 255
    assert not ((small == 1) & (large == 1)).any()


def test_equal_boxes_keep_an_object_each():
    """Of two equal boxes one has all pixels; nothing is known of the other, which is not to be taken for background."""
    boxes = np.array([[2, 2, 8, 8, 0]] * 2, np.float32)
    first, second = masks(boxed_instances(np.ones((12, 12), np.uint8), boxes, "smaller"), (12, 12))
    assert sorted([(first == 1).sum(), (second == 1).sum()]) == [0, 36]
    assert ((first == 255) | (second == 255)).sum() == 36


@pytest.mark.parametrize("overlap", ["both", "smaller"])
@pytest.mark.parametrize(
    "boxes",
    [[[3, 4, 4, 5, 1]], [[0, 0, 52, 40, 1]], [[-1, -1, 53, 41, 1], [51.5, 39.5, 52, 40, 1]], []],
    ids=["one cell", "the image", "beyond the image", "none"],
)
def test_any_boxes(boxes, overlap):
    """Of one cell, of the whole image (without background), outside of it, and none."""
    boxes = np.array(boxes, np.float32).reshape(-1, 5)
    found = boxed_instances(np.full(SIZE, 2, np.uint8), boxes, overlap)
    again = Instances.from_arrays(found.arrays())
    assert len(found) == len(again) == len(boxes)
    for mask, other in zip(masks(found), masks(again), strict=True):
        assert (mask == other).all() and (mask == 1).any()
    (cell,) = SCHEMAS["instances"].cells(found.arrays(), np.zeros((*SIZE, 3), np.uint8), ("a", "b"))
    assert cell.picture.ndim == 3


def test_a_box_without_its_class_says_nothing():
    found = boxed_instances(np.zeros(SIZE, np.uint8), np.array([[3, 4, 9, 9, 1]], np.float32))
    assert (found.patches[0] == 255).all() and rle.area(found.encoded(*SIZE)[0]) == 0


def test_tight_boxes_of_masks():
    first = disc(12, 20, 6)
    found = from_masks([first, np.zeros(SIZE, bool)], [4, 2], crowd=np.array([1, 0]))
    assert found.boxes.tolist() == [[15, 7, 26, 18, 4]] and found.crowd.tolist() == [1]
    assert (found.mask(0, *SIZE) == first).all()


# --- mask AP ----------------------------------------------------------------------------------------------------------


def listed(items: list[tuple], size: tuple[int, int] = (200, 300)) -> list:
    """(image, mask, score[, crowd]) as the stage collects them, by its own code."""
    collected: list[list] = [[]]
    for image, mask, score, *crowd in items:
        found = from_masks([mask], [0], scores=np.array([score]), crowd=np.array([bool(crowd and crowd[0])]))
        precision._collect(found, image, size, collected)
    return collected[0]


def square(row: int, column: int, side: int = 50) -> np.ndarray:
    mask = np.zeros((200, 300), bool)
    mask[row : row + side, column : column + side] = True
    return mask


CASES = {
    # precision is 1 up to the recall that is reached, at 101 recalls
    "perfect": ([(0, square(9, 9), 1), (1, square(70, 90), 1)], [(0, square(9, 9), 0.9), (1, square(70, 90), 0.8)], 1, 1, 1),
    # 45 of 50 columns: IoU 45 / 55 = 0.818, right at 0.50 to 0.80, 7 of 10 thresholds
    "shifted": ([(0, square(9, 9), 1)], [(0, square(9, 14), 0.9)], 0.7, 1, 1),
    # recalls 0 to 0.5 are 51 of 101
    "missed": ([(0, square(9, 9), 1), (1, square(70, 90), 1)], [(0, square(9, 9), 0.9)], *[51 / 101] * 3),
    # a doublet surer than the second object: precision 2 / 3 for recalls above 0.5
    "duplicate": (
        [(0, square(9, 9), 1), (1, square(70, 90), 1)],
        [(0, square(9, 9), 0.9), (0, square(9, 9), 0.8), (1, square(70, 90), 0.7)],
        *[(51 + 50 * 2 / 3) / 101] * 3,
    ),
    "a doublet that is the least sure": ([(0, square(9, 9), 1)], [(0, square(9, 9), 0.9), (0, square(9, 9), 0.1)], 1, 1, 1),
    "nothing found": ([(0, square(9, 9), 1)], [], 0, 0, 0),
    "found where nothing is": ([(0, square(9, 9), 1)], [(3, square(9, 9), 0.9), (0, square(9, 9), 0.8)], 0.5, 0.5, 0.5),
    "in a crowd, neither right nor wrong": (
        [(0, square(9, 9), 1), (0, square(60, 90, 120), 1, True)],
        [(0, square(70, 90), 0.9), (0, square(9, 9), 0.8)],
        *[1] * 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_closed_forms(case):
    truth, found, *expected = case
    values = average_precision(listed(truth), listed(found))
    assert [values[name] for name in ("ap", "ap50", "ap75")] == pytest.approx(expected)
    assert (
        values["ap_medium"] == pytest.approx(expected[0])
        and np.isnan(values["ap_small"])
        and np.isnan(values["ap_large"])
    )


def test_no_object_of_a_class():
    assert all(np.isnan(value) for value in average_precision([], listed([(0, square(9, 9), 1)])).values())


def scenes(seed: int, images: int = 12) -> tuple[dict[int, Instances], dict[int, Instances]]:
    """True instances of three classes, and guesses: some shifted, missed, doubled, of another class."""
    random, truth, found = np.random.default_rng(seed), {}, {}
    for image in range(images):
        count = int(random.integers(0, 6))
        places = [(random.uniform(0, 200), random.uniform(0, 300), random.uniform(4, 70)) for _ in range(count)]
        classes = random.integers(0, 3, count)
        truth[image] = from_masks([disc(*place, (200, 300)) for place in places], classes)
        guessed = [number for number in range(count) for _ in range(random.integers(0, 3))]
        moved = [np.array(places[number]) + random.normal(0, 4, 3) for number in guessed]
        labels = [int(random.integers(0, 3)) if random.random() < 0.2 else classes[number] for number in guessed]
        scores = random.uniform(0, 1, len(guessed)).astype(np.float32)
        found[image] = from_masks([disc(*place, (200, 300)) for place in moved], labels, scores=scores)
    return truth, found


def written(folder, name: str, instances: dict[int, Instances]) -> str:
    path = str(folder / f"{name}.h5")
    with create(path, "instances", dataset="x", split="val", classes=("a", "b", "c")) as artifact:
        for image, item in instances.items():
            artifact.put(f"image_{image}", **item.arrays())
    return path


@pytest.fixture(scope="module")
def index_of(tmp_path_factory):
    def write(images: int) -> str:
        path = tmp_path_factory.mktemp("index") / "index.h5"
        entries = [Entry(f"image_{n}", "", 200, 300, "", (0,), np.zeros((0, 5))) for n in range(images)]
        np.random.default_rng(7).shuffle(entries)  # lists are in any order
        write_index(path, "x", ("a", "b", "c"), entries, {"val": [entry.id for entry in entries]})
        return str(path)

    return write


def job(settings: dict, inputs: dict, outputs: dict) -> Job:
    about = json.loads(json.dumps({"dataset": "x"} | settings), object_hook=lambda item: SimpleNamespace(**item))
    return Job(about, SimpleNamespace(**inputs), SimpleNamespace(**outputs), 1, "0")


@pytest.mark.parametrize("seed", range(3))
def test_the_table_is_that_of_pycocotools(tmp_path, index_of, seed):
    """Scores by class, their means in the table, against COCO's own reading of the exported JSON, all classes at once."""
    truth, found = scenes(seed)
    inputs = {"index": index_of(12), "truth": written(tmp_path, "truth", truth)}
    inputs["artifact"] = written(tmp_path, "found", found)
    scores = str(tmp_path / "scores.json")
    precision.main(job({"splits": ["val"]}, inputs, {"scores": scores}))
    for name, path in (("truth", inputs["truth"]), ("found", inputs["artifact"])):
        given = {"index": inputs["index"], "instances": path}
        coco_json.main(job({"kind": "csv"}, given, {"annotations": str(tmp_path / f"{name}.json")}))
    row = {"system": "x", "stage": "detections", "network": None, "split": "val", "scores": [scores], "published": []}
    table = tmp_path / "table.csv"
    mask_ap.main(job({"rows": [row], "classes": ["a", "b", "c"]}, {"scores": [scores]}, {"mask_ap": str(table)}))
    header, values = (line.split(",") for line in table.read_text().splitlines())
    ours = dict(zip(header, values, strict=True))
    true = COCO(tmp_path / "truth.json")
    guesses = true.loadRes(json.loads((tmp_path / "found.json").read_text())["annotations"])
    evaluator = COCOeval(true, guesses, "segm")
    for step in (evaluator.evaluate, evaluator.accumulate, evaluator.summarize):
        step()
    assert 0 < evaluator.stats[0] < 1
    assert [float(ours[name]) for name in MEASURES] == pytest.approx((100 * evaluator.stats[:6]).tolist(), abs=0.0051)
    assert int(ours["instances"]) == len(true.anns) and ours["published_ap"] == ""


def test_masks_of_boxes_as_pycocotools_scores_them(tmp_path, index_of):
    """All have score 1, so that the images' numbers decide which counts first; a box without a pixel is nothing found."""
    random = np.random.default_rng(0)
    truth, boxed = {}, {}
    for image in range(40):
        label = square(20, 20).astype(np.uint8)
        truth[image] = from_masks([label], [0])
        boxes = np.array(
            [[20, 20, 70, 70, 0], [100, 100, 150, 150, 0]], np.float32
        )  # nothing of the class in the second
        boxed[image] = boxed_instances(label if random.random() < 0.5 else square(20, 20, 30).astype(np.uint8), boxes)
    inputs = {
        "index": index_of(40),
        "truth": written(tmp_path, "truth", truth),
        "artifact": written(tmp_path, "boxed", boxed),
    }
    precision.main(job({"splits": ["val"]}, inputs, {"scores": str(tmp_path / "scores.json")}))
    found = json.loads((tmp_path / "scores.json").read_text())["splits"]["val"]
    assert (found["instances"], found["found"]) == (40, 40)
    for name, path in (("truth", inputs["truth"]), ("boxed", inputs["artifact"])):
        given = {"index": inputs["index"], "instances": path}
        coco_json.main(job({"kind": "csv"}, given, {"annotations": str(tmp_path / f"{name}.json")}))
    true = COCO(tmp_path / "truth.json")
    written_boxes = json.loads((tmp_path / "boxed.json").read_text())["annotations"]
    assert len(written_boxes) == 80
    evaluator = COCOeval(true, true.loadRes([item | {"score": 1} for item in written_boxes if item["area"]]), "segm")
    for step in (evaluator.evaluate, evaluator.accumulate, evaluator.summarize):
        step()
    assert [found["classes"]["a"][name] for name in MEASURES[:3]] == pytest.approx(evaluator.stats[:3].tolist())
    assert 0.1 < evaluator.stats[2] < 0.9


# --- COCO's JSON ------------------------------------------------------------------------------------------------------


def test_the_json_comes_back_as_it_was(tmp_path, index_of):
    """Masks, boxes, areas and what is unreliable; an image without any instance is listed."""
    label = np.zeros((200, 300), np.uint8)
    label[disc(60, 80, 30, (200, 300))], label[disc(60, 95, 12, (200, 300))] = 2, 255
    boxes = np.array([[50, 30, 111, 91, 1], [200, 10, 220, 30, 0]], np.float32)
    given = boxed_instances(label, boxes)
    path = written(tmp_path, "x", {0: given, 1: boxed_instances(label, boxes[:0])})
    outputs = {"annotations": str(tmp_path / "x.json")}
    coco_json.main(job({"kind": "csv"}, {"index": index_of(2), "instances": path}, outputs))
    content = COCO(tmp_path / "x.json")
    assert [image["file_name"] for image in content.dataset["images"]] == ["image_0.png", "image_1.png"]
    assert [category["name"] for category in content.dataset["categories"]] == ["a", "b", "c"]
    first, second = content.dataset["annotations"]
    assert (content.annToMask(first) == (given.mask(0, 200, 300) == 1)).all()
    doubtful = content.annToMask({**first, "segmentation": first["unreliable"]})
    assert (doubtful == (given.mask(0, 200, 300) == 255)).all() and doubtful.any()
    assert first["bbox"] == [50, 30, 61, 61] and first["area"] == content.annToMask(first).sum()
    assert (first["category_id"], second["category_id"], second["area"]) == (2, 1, 0)


def test_coco_s_own_numbers(tmp_path):
    """Categories 1 to 90 with their gaps, images by the number at the end of their name."""
    classes = [f"class {n}" for n in range(80)]
    entries = [Entry(f"COCO_train2014_{n:012}", "", *SIZE, "", (0, 79), np.zeros((0, 5))) for n in (581921, 9)]
    write_index(tmp_path / "index.h5", "x", classes, entries, {"train": [entry.id for entry in entries]})
    with create(tmp_path / "x.h5", "instances", dataset="x", split="train", classes=classes) as artifact:
        for entry in entries:
            artifact.put(entry.id, **from_masks([np.ones(SIZE, bool), np.ones(SIZE, bool)], [11, 79]).arrays())
    inputs = {"index": str(tmp_path / "index.h5"), "instances": str(tmp_path / "x.h5")}
    coco_json.main(job({"kind": "coco"}, inputs, {"annotations": str(tmp_path / "x.json")}))
    content = COCO(tmp_path / "x.json").dataset
    assert [image["id"] for image in content["images"]] == [581921, 9]
    assert [(category["id"], category["name"]) for category in content["categories"]][10:13] == [
        (11, "class 10"), (13, "class 11"), (14, "class 12"),
    ]  # fmt: skip
    assert [(item["image_id"], item["category_id"]) for item in content["annotations"]] == [
        (581921, 13), (581921, 90), (9, 13), (9, 90),
    ]  # fmt: skip


# --- true instances ---------------------------------------------------------------------------------------------------


def test_true_instances_of_rendered_scenes(tmp_path):
    """Row i of the boxes is instance i + 1, and its box is tight."""
    about = {"dataset": "x", "split": "all", "classes": ("train", "boat", "bus", "bird", "cat", "dog")}
    entries = []
    with create(tmp_path / "truth.h5", "truth", **about) as artifact:
        for number in range(6):
            scene = render_scene(0, "train", number)
            artifact.put(f"s{number}", label=scene.mask, instance=scene.instances)
            entries.append(Entry(f"s{number}", "", *scene.mask.shape, "", scene.labels, scene.boxes))
    write_index(tmp_path / "index.h5", "x", about["classes"], entries, {"all": [entry.id for entry in entries]})
    inputs = {"index": str(tmp_path / "index.h5"), "rendered": str(tmp_path / "truth.h5"), "archives": []}
    settings = {"kind": "synthetic", "splits": ["all"]}
    instance_truth.main(job(settings, inputs, {"truth": str(tmp_path / "instances.h5")}))
    reader = Reader(tmp_path / "instances.h5", "instances", "x")
    for number, entry in enumerate(entries):
        found, scene = Instances.from_arrays(reader.read(entry.id)), render_scene(0, "train", number)
        assert (found.boxes == entry.boxes).all()
        assert (
            sum((row + 1) * mask for row, mask in enumerate(masks(found, scene.mask.shape))) == scene.instances
        ).all()
    given = {"index": inputs["index"], "masks": None, "truth": str(tmp_path / "instances.h5")}
    stage.main(job({"splits": ["all"], "block": {}}, given, {"instances": str(tmp_path / "same.h5")}))
    again = Reader(tmp_path / "same.h5", "instances", "x")
    assert all((again.read("s0")[name] == values).all() for name, values in reader.read("s0").items())


def voc(tmp_path) -> tuple[SimpleNamespace, object]:
    """Two images of VOC's own, one of SBD's: two cats, the right one cut off by a void border."""
    for folder in ("SegmentationClass", "SegmentationObject", "inst"):
        (tmp_path / folder).mkdir()
    label, objects = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    label[5:15, 5:15] = label[5:15, 16:30] = 8
    objects[5:15, 5:15], objects[5:15, 16:30] = 1, 2
    label[5:15, 15] = objects[5:15, 15] = 255
    Image.fromarray(label).save(tmp_path / "SegmentationClass/a.png")
    Image.fromarray(objects).save(tmp_path / "SegmentationObject/a.png")
    inst = {"Segmentation": np.where(objects == 255, 0, objects), "Categories": np.array([[8], [12]])}
    savemat(tmp_path / "inst/b.mat", {"GTinst": inst})
    entries = [Entry(name, "", *SIZE, "", (0,), np.zeros((0, 5))) for name in "ab"]
    write_index(tmp_path / "index.h5", "voc", ("cat", "dog"), entries, {"all": ["a", "b"]})
    settings = {"root": str(tmp_path), "masks": "SegmentationClass", "objects": "SegmentationObject", "mask_ids": None}
    settings |= {"sbd": str(tmp_path), "classes": ["cat", "dog"]}
    return SimpleNamespace(**settings), read_index(tmp_path / "index.h5")


def test_true_instances_of_voc(tmp_path):
    read = voc_masks.instances(*voc(tmp_path))
    own, other = read("a"), read("b")
    assert own.boxes.tolist() == [[5, 5, 15, 15, 0], [16, 5, 30, 15, 0]]  # void is of neither
    assert other.boxes[:, 4].tolist() == [0, 1] and (other.windows == own.windows).all()


def test_true_instances_of_voc_with_values_of_its_own(tmp_path):
    settings, index = voc(tmp_path)
    mask = tmp_path / settings.masks / "a.png"
    with Image.open(mask) as image:
        label = np.array(image)
    Image.fromarray(np.where((label > 0) & (label < 255), 7, label).astype(np.uint8)).save(mask)
    settings.mask_ids = SimpleNamespace(**dict.fromkeys(index.classes, 9) | {index.classes[0]: 7})
    assert voc_masks.instances(settings, index)("a").boxes[:, 4].tolist() == [0, 0]


def test_faults_of_voc(tmp_path):
    settings, index = voc(tmp_path)
    read = voc_masks.instances(settings, index)
    (tmp_path / "inst/b.mat").write_bytes(b"nothing")
    refused(lambda: read("b"), "inst/b.mat", "GTinst")
    (tmp_path / "SegmentationObject/a.png").unlink()
    refused(lambda: read("a"), "SegmentationObject/a.png", "missing")
    mixed = np.array([[1, 1]], np.uint8), np.array([[1, 2]], np.uint8)
    refused(lambda: voc_masks.of_maps(*mixed, "x.png"), "x.png: object 1 is not of one class")


def test_true_instances_of_coco(tmp_path):
    """Polygons and runs, crowds, areas as the file has them; what has no area is left out."""
    polygon = {"segmentation": [[5, 5, 15, 5, 15, 15, 5, 15]], "bbox": [5, 5, 10, 10], "area": 97.5, "iscrowd": 0}
    flat = {"segmentation": [[5, 5, 15, 5, 10, 5]], "bbox": [5, 5, 10, 0], "area": 0, "iscrowd": 0}
    counts = [0, 80, SIZE[0] * SIZE[1] - 80]
    crowd = {"segmentation": {"size": list(SIZE), "counts": counts}, "bbox": [0, 0, 2, 40], "iscrowd": 1}
    items = [item | {"id": k, "image_id": 1, "category_id": 18} for k, item in enumerate((polygon, flat, crowd))]
    content = {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}], "annotations": items}
    (tmp_path / "x.json").write_text(json.dumps(content | {"categories": [{"id": 18, "name": "dog"}]}))
    entries = [Entry(name, str(tmp_path / f"{name}.jpg"), *SIZE, "", (1,), np.zeros((0, 5))) for name in "ab"]
    write_index(tmp_path / "index.h5", "coco", ("cat", "dog"), entries, {"all": ["a", "b"]})
    settings = SimpleNamespace(splits=["all"], root=str(tmp_path), files=[("x.json", ".")])
    read = coco_masks.instances(settings, read_index(tmp_path / "index.h5"))
    found = Instances.from_arrays(read("a").arrays())
    assert found.boxes.tolist() == [[5, 5, 15, 15, 1], [0, 0, 2, 40, 1]]
    assert found.crowd.tolist() == [0, 1] and found.areas.tolist() == [97.5, 80]
    assert masks(found)[0].sum() == 100 and masks(found)[1][:, :2].all() and masks(found)[1].sum() == 80
    assert len(read("b")) == 0


# --- configuration ----------------------------------------------------------------------------------------------------

DEMO = {"dataset": "demo", "seed": "0"}


def test_the_table_asks_for_what_it_is_made_from(raw):
    plan = Plan(Config(put(raw, "datasets.demo.instance_systems", ["bana_agreement", "truth"])))
    (truth,) = [job for job in plan.jobs("demo", "results/demo/mask_ap.csv") if job[0] == "instance_truth"]
    assert plan.job(*truth).inputs["rendered"] == "results/demo/rendered/truth.h5"
    made = plan.job("instances", DEMO | {"instances": "bana_agreement"})
    assert made.inputs == {
        "index": "results/demo/index.h5",
        "masks": "results/demo/seed-0/masks/bana_agreement.h5",
        "truth": [],
    }
    assert plan.job("instances", DEMO | {"instances": "truth"}).inputs["truth"] == "results/demo/instance_truth.h5"
    assert "results/demo/mask_ap.csv" in plan.on_request("demo") and "mask_ap" not in {
        stage for stage, _ in plan.jobs("demo")
    }


def test_published_figures_stand_beside_their_split(raw):
    raw = put(raw, "datasets.coco2017.instance_systems", ["bana_vgg16"])
    plan = Plan(Config(raw))
    rows = plan.job("mask_ap", {"dataset": "coco2017"}).settings["rows"]
    assert [(row["stage"], row["split"], row["published"][0]["ap"]) for row in rows[:1]] == [
        ("instances", "train", 17.2)
    ]


@pytest.mark.parametrize(
    "key, value, fragments",
    [
        ("datasets.demo.instance_systems", ["bananas"], ("datasets.demo.instance_systems", "'bananas'")),
        ("instances.bana.mask", "banana", ("instances.bana.mask", "'banana'")),
        ("instance_systems.bana.instances", "banana", ("instance_systems.bana.instances", "'banana'")),
        ("datasets.demo.use.instances", "tra", ("datasets.demo.use.instances", "'train'")),
        ("instances.bana.overlap", "none", ("instances.bana",)),
    ],
)
def test_what_does_not_fit_is_refused(raw, key, value, fragments):
    refused(lambda: Config(put(raw, key, value)), *fragments)


def test_a_data_set_without_true_instances(raw):
    plan = Plan(Config(put(raw, "datasets.voc.objects", None)))
    refused(lambda: plan.job("instance_truth", {"dataset": "voc"}), "datasets.voc", "objects is null")
    plan = Plan(Config(put(raw, "datasets.demo.instance_systems", [])))
    refused(lambda: plan.job("mask_ap", {"dataset": "demo"}), "datasets.demo.instance_systems")
