"""Archives, index, truth and submission as their stages do them, and splits that an evaluation server scores."""

import csv
import io
import json
import tarfile
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SOURCES, put, refused
from PIL import Image
from small_archives import (
    DOG,
    OTHERS,
    TEST,
    TRAIN,
    VAL,
    VOC,
    checksum,
    sbd_files,
    served,
    test_files,
    voc_files,
    write_tar,
)

from workflow_scripts.config.layers import read_settings
from workflow_scripts.config.planning import sources
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config, merge
from workflow_scripts.config.yaml_files import read_yaml
from workflow_scripts.data.index import read_index
from workflow_scripts.look.pictures import PALETTE
from workflow_scripts.run.command import Job
from workflow_scripts.store.artifacts import create

TEST_ROOT = f"data/unpacked/voc2012_test/{VOC}"


def changes() -> dict:
    """VOC with SBD and the test images of the server, a handful each, from local copies."""
    archives = {
        "voc2012": {"path": "voc.tar", "checksum": checksum(Path("voc.tar"))},
        "sbd": {"path": "sbd.tgz", "checksum": checksum(Path("sbd.tgz"), "md5")},
        "voc2012_test": {"path": "test.tar", "checksum": checksum(Path("test.tar"), "sha1")},
    }
    counts = {"train": {"count": 2}, "val": {"count": 2}, "train_aug": {"count": 5}, "test": {"count": 2}}
    voc = {"classes": ["dog", "cat"], "systems": ["truth"], "splits": counts | {"thresholds": {"first": 1}}}
    return {"archives": archives, "datasets": {"voc": voc}}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_tar(Path("voc.tar"), voc_files())
    write_tar(Path("sbd.tgz"), sbd_files(), "w:gz")
    write_tar(Path("test.tar"), test_files())
    return tmp_path


@pytest.fixture
def raw(folder) -> dict:
    shipped = merge(read_settings(), read_yaml(SOURCES / "configs/voc_test.yaml"))
    return merge(shipped, changes())


def make(plan: Plan, stage: str, **wildcards: str) -> dict[str, str]:
    """Run a stage in this process; its outputs."""
    job = plan.job(stage, wildcards)
    settings = json.loads(plan.settings(stage, wildcards), object_hook=lambda item: SimpleNamespace(**item))
    inputs = SimpleNamespace(**{name: value or None for name, value in job.inputs.items()})
    outputs = plan.outputs(stage, wildcards)
    main = import_module(f"workflow_scripts.{plan.modules(stage, wildcards)[0]}").main
    main(Job(settings, inputs, SimpleNamespace(**outputs), 1, "0"))
    return outputs


def unpacked(plan: Plan) -> Plan:
    for name in plan.config.dataset("voc").archives:
        make(plan, "unpack", archive=name)
    return plan


def test_images_of_the_server_have_no_labels(raw):
    plan = unpacked(Plan(Config(raw)))
    index = read_index(make(plan, "index", dataset="voc")["index"])
    assert index.split("test") == TEST and index.split("train_aug") == [*TRAIN, *OTHERS]
    assert all(len(index.classes_of(name)) == len(index.boxes_of(name)) == 0 for name in TEST)
    assert index.images[index.row["x1"]] == f"{TEST_ROOT}/JPEGImages/x1.jpg"
    assert plan.job("truth", {"dataset": "voc"}).settings["splits"] == ["thresholds", "train", "train_aug", "val"]


def test_settings_are_equal_before_and_after_unpacking(raw):
    def settings() -> list[str]:
        plan = Plan(Config(raw))
        return [plan.settings(stage, {"dataset": "voc"}) for stage in ("index", "truth")]

    before = settings()
    unpacked(Plan(Config(raw)))
    assert settings() == before
    (Path(TEST_ROOT) / "JPEGImages/x1.jpg").unlink()
    assert settings()[0] != before[0] and settings()[1] == before[1]


WRONG = {
    "checksum": ("archives.voc2012.checksum", "sha256:" + "0" * 64, "voc.tar: has sha256 "),
    "no checksum": ("archives.voc2012.checksum", None, "set archives.voc2012.checksum to sha256:"),
    "no such file": ("archives.voc2012.path", "nowhere.tar", "nowhere.tar: the file is missing"),
    "member": ("archives.voc2012.members", ["VOC2007"], "has no 'VOC2007'; name another archive"),
    "size": ("archives.voc2012.unpacked", 1000, "more than the bytes that `unpacked` allows"),
}


@pytest.mark.parametrize(("key", "value", "message"), WRONG.values(), ids=WRONG)
def test_archives_that_are_not_as_the_configuration_says(raw, key, value, message):
    plan = Plan(Config(put(raw, key, value)))
    refused(lambda: make(plan, "unpack", archive="voc2012"), message)
    assert not Path("data/unpacked").exists() or not list(Path("data/unpacked").iterdir())


def test_counts(raw):
    plan = unpacked(Plan(Config(put(raw, "datasets.voc.splits.train_aug.count", 10582))))
    refused(lambda: make(plan, "index", dataset="voc"), "train_aug has 5, expected 10582")
    plan = Plan(Config(put(raw, "datasets.voc.limit", 2)))  # under which there are fewer
    index = read_index(make(plan, "index", dataset="voc")["index"])
    assert index.split("train") == TRAIN and index.split("train_aug") == ["t1", "t2", "s1", "s2", "s3"]


def test_an_image_with_and_without_labels(raw):
    plan = unpacked(Plan(Config(raw)))
    Path(TEST_ROOT, "ImageSets/Segmentation/test.txt").write_text("x1\nv1\n")
    with pytest.raises(Exception, match="id 'v1' is in a split of another root, or without labels, too"):
        make(plan, "index", dataset="voc")


def test_a_download_without_checksum_is_kept_until_it_has_one(raw, folder):
    put(raw, "archives.voc2012.path", None)
    put(raw, "archives.voc2012.checksum", None)
    with served(folder) as url:
        put(raw, "archives.voc2012.url", f"{url}/voc.tar")
        plan = Plan(Config(raw))
        right = checksum(Path("voc.tar"))
        for _ in range(2):
            refused(lambda: make(plan, "archives", archive="voc2012"), f"archives.voc2012.checksum to {right}")
    kept = Path("data/archives/.voc2012.unpinned")
    wrong = Plan(Config(put(raw, "archives.voc2012.checksum", "md5:" + "0" * 32)))
    refused(lambda: make(wrong, "archives", archive="voc2012"), kept, "has md5 ", "delete it and run again")
    make(Plan(Config(put(raw, "archives.voc2012.checksum", right))), "archives", archive="voc2012")
    assert Path("data/archives/voc2012").read_bytes() == Path("voc.tar").read_bytes() and not kept.exists()


# The evaluation server

NAMES = {"dataset": "voc", "seed": "0", "mask": "truth", "segmenter": "large_fov"}


def predicted(plan: Plan, prediction: str) -> bytes:
    """The submission of predictions that are drawn here: an object of class 1, which is the dog."""
    label = np.zeros((20, 30), np.uint8)
    label[:, 15:] = 1
    scores = (label[None, ::2, ::2] == np.arange(3)[:, None, None]).astype(np.float16)
    path = plan.outputs("predictions", NAMES | {"prediction": prediction})["predictions"]
    with create(path, "prediction", dataset="voc", split="val+test", classes=("dog", "cat")) as artifact:
        for identifier in [*VAL, *reversed(TEST)]:
            artifact.put(identifier, **({"label": label} if prediction == "multi_crf" else {"scores": scores}))
    return Path(make(plan, "submission", **NAMES, prediction=prediction)["submission"]).read_bytes()


@pytest.mark.parametrize("prediction", ["single", "multi_crf"])
def test_submissions(raw, prediction):
    plan = unpacked(Plan(Config(raw)))
    make(plan, "index", dataset="voc")
    content = predicted(plan, prediction)
    assert predicted(plan, prediction) == content
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == [
            f"results/VOC2012/Segmentation/comp6_test_cls/{identifier}.png" for identifier in TEST
        ]
        assert {(member.mtime, member.uid, member.uname, member.mode) for member in members} == {(0, 0, "", 0o644)}
        for member in members:
            image = Image.open(io.BytesIO(archive.extractfile(member).read()))
            assert image.mode == "P" and image.size == (30, 20)
            assert bytes(image.getpalette()[: 3 * 21]) == PALETTE[:21].tobytes()
            assert np.unique(np.asarray(image)[:, :10]).tolist() == [0]
            assert np.unique(np.asarray(image)[:, 20:]).tolist() == [DOG]


def test_a_split_of_the_server_is_predicted_and_not_scored(raw):
    plan = Plan(Config(raw))
    names = NAMES | {"prediction": "single"}
    assert plan.job("predictions", names).settings["splits"] == ["val", "test"]
    assert plan.job("score_predictions", names).settings["splits"] == ["val"]
    targets = plan.targets("voc")
    packed = [path for path in targets if "submission" in path]
    assert packed == [
        f"results/voc/seed-0/submission/truth/large_fov/{name}.tar.gz" for name in ("single", "multi", "multi_crf")
    ]
    assert "submission" in {stage for stage, _ in plan.jobs("voc")}
    refused(lambda: plan.job("submission", names | {"dataset": "coco"}), "datasets.coco", "labelled: false")


def test_its_row_of_the_table_is_empty(raw):
    plan = Plan(Config(raw))
    job = plan.job("miou", {"dataset": "voc"})
    labels = len(job.settings["classes"]) + 1
    confusion = (np.eye(labels, labels + 1, dtype=int) * 5).tolist()
    part = {"images": 2, "confusion": confusion, "by_labels": {"1": confusion}, "by_size": {}}
    for path in job.inputs["scores"]:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps({"splits": {"train": part, "val": part}}))
    with open(make(plan, "miou", dataset="voc")["miou"], newline="") as file:
        rows = list(csv.DictReader(file))
    stages = ["segmentation", "segmentation", "segmentation_crf"]
    assert [(row["stage"], row["split"], row["miou"]) for row in rows] == [
        ("mask", "train", "100.00"),
        *((stage, split, score) for stage in stages for split, score in [("val", "100.00"), ("test", "")]),
    ]
    empty = next(row for row in rows if row["split"] == "test")
    assert {key for key, value in empty.items() if value} == {"system", "stage", "prediction", "split"}


ERRORS = {
    "archive": ("datasets.voc.archives", ["voc2013"], "datasets.voc.archives: no archive 'voc2013', did you mean"),
    "checksum": ("archives.sbd.checksum", "md5:1", "archives.sbd.checksum: "),
    "member": ("archives.sbd.members", ["../x"], "archives.sbd.members.0: '../x' is no path inside an archive"),
    "absolute member": ("archives.sbd.members", ["/x"], "is no path inside"),
    "no member": ("archives.sbd.members", [], "archives.sbd.members"),
    "key": ("archives.sbd.sha256", "x", "archives.sbd: unknown key 'sha256'"),
    "labels for training": ("datasets.voc.use.train", "test", "use.train: split 'test' has no labels"),
    "labels of a part": (
        "datasets.voc.splits.thresholds",
        {"of": "test", "first": 1},
        "use.thresholds: split 'thresholds' has no labels",
    ),
    "lists of SBD": ("datasets.voc.sbd", None, "splits.voc_and_sbd.sbd: the data set has no folder sbd"),
    "folder": ("datasets.coco.splits.val.folder", None, "splits.val.folder: missing"),
    "folder of VOC": ("datasets.voc.splits.val.folder", "x", "splits.val.folder: not for kind 'voc'"),
    "labelled": ("datasets.coco.splits.val.labelled", False, "splits.val.labelled: not for kind 'coco'"),
}


@pytest.mark.parametrize(("key", "value", "message"), ERRORS.values(), ids=ERRORS)
def test_one_line_says_what_is_wrong_in_the_configuration(raw, key, value, message):
    refused(lambda: Config(put(raw, key, value)), message)


def test_an_archive_comes_from_somewhere(raw):
    raw["archives"]["voc2012_test"].pop("path")
    refused(lambda: Config(raw), "archives.voc2012_test: an archive has a url, or the path of a local copy")
    plan = Plan(Config(merge(raw, changes())))
    refused(lambda: plan.job("archives", {"archive": "voc2012_test"}), "voc2012_test.url: null")


def test_a_manifest_that_cannot_be_read_counts_as_none(raw):
    before = sources.digest("voc", Config(raw).dataset("voc"), "images")
    unpacked(Plan(Config(raw)))
    Path("data/unpacked/voc2012.json").write_text("[")
    assert sources.digest("voc", Config(raw).dataset("voc"), "images") == before
