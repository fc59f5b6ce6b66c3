"""`doctor`: what the systems of a data set need, what of it is there, and what it will cost."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml
from conftest import SMALL, SOURCES, put, python
from own_photographs import CSV, PARTS, plan_of, write_photographs

from workflow_scripts.commands import doctor
from workflow_scripts.commands.estimates import CORE, Cost, Estimates, members
from workflow_scripts.config.layers import read_settings
from workflow_scripts.config.planning import instance_systems, systems
from workflow_scripts.config.planning.needs import of_block
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config, merge
from workflow_scripts.config.yaml_files import read_yaml

MOBILENET = "mobilenet_v2-b0353104.pth"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder to look around in, with the downloads of torchvision and rembg in it too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "rembg"))
    doctor._checked.cache_clear()
    return tmp_path


def needs(raw: dict, dataset: str = "voc", system: str | None = None) -> dict[str, doctor.Need]:
    """What a data set or one of its systems needs, by file name."""
    config = Config(raw)
    if system:
        found = doctor.needs_of_jobs(config, systems.chain(config, dataset, system))
    else:
        found = doctor.merged(map(doctor.checked, doctor.data_needs(config, dataset)))
    return {Path(need.path).name: need for need in found}


def fill(root: Path, split: dict[str, list[str]]) -> None:
    """A VOCdevkit of empty files."""
    for name, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml"), ("SegmentationClassAug", "png")):
        (root / name).mkdir(parents=True)
        for identifier in {identifier for ids in split.values() for identifier in ids}:
            (root / name / f"{identifier}.{suffix}").write_bytes(b"x")
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for name, ids in split.items():
        (root / f"ImageSets/Segmentation/{name}.txt").write_text("".join(f"{identifier}\n" for identifier in ids))


# --- what is there ----------------------------------------------------------------------------------------------------


@pytest.fixture
def unpacked(raw) -> dict:
    """VOC as a folder of the user's."""
    return merge(raw, read_yaml(SOURCES / "configs/voc_folder.yaml"))


def test_nothing_of_voc_is_there(folder, raw, unpacked):
    found = needs(raw)
    assert list(found) == ["voc2012", "sbd"]
    assert {need.state for need in found.values()} == {"missing, comes by itself"}
    assert found["voc2012"].size == "2.0 GB" and found["voc2012"].checksum.startswith("sha256:")
    found = needs(unpacked)
    assert set(found) == {"train_aug.txt", "train.txt", "val.txt", "JPEGImages", "Annotations", "SegmentationClassAug"}
    assert {need.state for need in found.values()} == {"missing"} and all(need.source for need in found.values())
    found = needs(raw, system="eps")
    assert {name: need.state for name, need in found.items()} == {
        "rembg": "present" if doctor.version("rembg") else "missing",
        "u2net.onnx": "missing, comes by itself",
        MOBILENET: "missing, comes by itself",
        "pydensecrf2": "present",
    }
    assert found[MOBILENET].size == "14 MB" and found[MOBILENET].checksum == "sha256:b0353104"
    assert found[MOBILENET].source.startswith("https://")
    assert found["u2net.onnx"].size == "176 MB" and found["u2net.onnx"].source.endswith("/u2net.onnx")
    assert {*needs(raw, system="cam_affinity_resnet38")} == {
        "ilsvrc-cls_rna-a1_cls1000_ep-0001.params",
        "resnet101-63fe2227.pth",
        "pydensecrf2",
    } - ({"resnet101-63fe2227.pth"} if not raw["systems"]["cam_affinity_resnet38"].get("segmenter") else set())
    deit = needs(raw, system="mctformer")["deit_small_patch16_224-cd65a155.pth"]
    assert (deit.state, deit.size, deit.checksum) == ("missing", "88 MB", "sha256:cd65a155")
    assert deit.source == "https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth"


def test_archives(folder, raw):
    put(raw, "archives.voc2012.path", "mine/voc.tar")
    put(raw, "archives.sbd.checksum", None)
    checksum = raw["archives"]["voc2012"]["checksum"]
    assert needs(raw)["voc.tar"] == doctor.Need("archive", "mine/voc.tar", "missing", "2.0 GB", checksum)
    assert needs(raw)["sbd"].state == "missing, and so is its checksum"
    (folder / "mine").mkdir()
    (folder / "mine/voc.tar").write_bytes(b"123")
    assert (needs(raw)["voc.tar"].state, needs(raw)["voc.tar"].size) == ("of another checksum, delete it", "3 B")
    put(raw, "archives.voc2012.checksum", f"sha256:{hashlib.sha256(b'123').hexdigest()}")
    assert needs(raw)["voc.tar"].state == "present"
    (folder / "mine/voc.tar").write_bytes(b"")
    assert needs(raw)["voc.tar"].state == "of 0 bytes"


def test_files_are_counted_against_the_lists(folder, unpacked):
    root = folder / "data/VOCdevkit/VOC2012"
    fill(root, {"train_aug": ["a", "b", "c"], "train": ["a"], "val": ["d"]})
    assert {need.state for need in needs(unpacked).values()} == {"present"}
    (root / "JPEGImages/b.jpg").unlink()
    (root / "JPEGImages/d.jpg").rename(root / "JPEGImages/d.PNG")  # another ending of pictures
    assert needs(unpacked)["JPEGImages"].state == "missing 1 of 4"
    (root / "JPEGImages/d.PNG").rename(root / "JPEGImages/d.txt")
    (root / "Annotations/a.xml").write_bytes(b"")
    (root / "SegmentationClassAug/b.png").unlink()
    found = {name: need.state for name, need in needs(unpacked).items() if "." not in name}
    assert found == {
        "JPEGImages": "missing 2 of 4",
        "Annotations": "missing 1 of 4",
        "SegmentationClassAug": "missing 1 of 4",
    }


def test_unpacked_photographs_are_counted_too(folder, raw):
    for name in ("voc2012", "sbd"):
        (folder / "data/unpacked").mkdir(parents=True, exist_ok=True)
        (folder / f"data/unpacked/{name}.json").write_text("{}")
    root = folder / "data/unpacked/voc2012/VOCdevkit/VOC2012"
    fill(root, {"train": ["a", "b"], "val": ["c"]})
    (root / "SegmentationClassAug").rename(root / "SegmentationClass")
    lists = folder / "data/unpacked/sbd/benchmark_RELEASE/dataset"
    (lists / "cls").mkdir(parents=True)
    for name, ids in (("train", "d"), ("val", "a")):
        (lists / f"{name}.txt").write_text(f"{ids}\n")
    (lists / "cls/d.mat").write_bytes(b"x")
    found = {name: need.state for name, need in needs(raw).items()}
    assert found["JPEGImages"] == found["Annotations"] == "missing 1 of 4" and found["SegmentationClass"] == "present"
    assert found["voc2012"] == found["val.txt"] == "present"


def test_photographs_of_tables_and_instances(folder):
    write_photographs()
    for number in (0, 3):
        Path("VOC", "JPEGImages", f"photo_{number}.jpg").unlink()
    found = doctor.merged(doctor.data_needs(plan_of(CSV).config, "mine"))
    assert [(need.what, need.state) for need in found] == [
        ("table", "present"),
        ("images", "missing 2 of 8"),
        ("truth masks", "present"),
    ]
    names = [{"id": number, "file_name": f"photo_{number}.jpg", "height": 20, "width": 30} for number in range(8)]
    boxes = [
        {"id": number, "image_id": number, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": 0, "area": 25}
        for number in (1, 2, 3)
    ]
    document = {"images": names, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    Path("VOC/i.json").write_text(json.dumps(document))
    coco = {"kind": "coco", "root": "VOC", "unlabelled": "ignore", "crowd": "class", "overlap": "later"}
    coco |= {"splits": {"all": {"ids": "i.json", "folder": "JPEGImages"}, **PARTS, "val": {"of": "all"}}}
    config = plan_of(coco).config
    found = {(need.what, need.path): need.state for need in doctor.merged(doctor.data_needs(config, "mine"))}
    assert found == {("list", "VOC/i.json"): "present", ("images", "VOC/JPEGImages"): "missing 1 of 3"}
    Path("VOC").rename("gone")
    assert {need.state for need in doctor.data_needs(config, "mine")} == {"missing"}


@pytest.mark.parametrize(
    ("hours", "told"),
    [
        (0, "none"), (0.0001, "1 s"), (0.01, "36 s"), (0.4, "24 min"), (1, "1.0 h"), (9.96, "10 h"), (47, "47 h"),
        (48, "2 days"), (1030, "43 days"), (2400, "100 days"), (30_000, "1,200 days"),
    ],
)  # fmt: skip
def test_times_as_people_say_them(hours, told):
    assert doctor.duration(hours) == told


@pytest.mark.parametrize(
    ("targets", "asked"),
    [
        (["results/voc"], {"voc": []}),
        (["demo", "results/voc/"], {"demo": [], "voc": []}),
        (
            ["results/voc/miou.csv", "results/voc/mask_ap.csv"],
            {"voc": ["results/voc/miou.csv", "results/voc/mask_ap.csv"]},
        ),
    ],
)
def test_only_what_is_asked_for(raw, targets, asked):
    config = Config(raw)
    assert doctor.asked_for(config, targets) == asked
    assert [*doctor.asked_for(config, [])] == [*config.datasets]
    for wrong, message in (
        ("elsewhere/demo", "expected results"),
        ("results/no", "no data set"),
        ("a/b/c", "expected"),
    ):
        with pytest.raises(doctor.UserError, match=message):
            doctor.asked_for(config, [wrong])


def test_files_are_asked_for_as_of_snakemake(raw):
    plan = Plan(Config(raw))
    stages = [stage for stage, _ in doctor.target_jobs(plan, ["results/demo/seed-0/cams/eps.h5"])]
    assert {*stages} == {"render", "index", "train_saliency", "saliency", "train_classifier", "cams"}
    assert ("miou", {"dataset": "demo"}) in doctor.target_jobs(plan, ["results/demo/pictures/done.txt"])
    with pytest.raises(doctor.UserError, match="no job makes it"):
        doctor.target_jobs(plan, ["results/demo/none.txt"])


def test_downloads_by_checksum(folder, raw):
    content = b"weights"
    sha256 = hashlib.sha256(content).hexdigest()
    put(raw, "classifiers.cam.initial", {"url": "https://a.example/net.pth", "sha256": sha256})
    name = f"{sha256[:12]}-net.pth"
    absent = needs(raw, system="cam_crf")[name]
    assert absent == doctor.Need(
        "weights",
        f"data/weights/{name}",
        "missing, comes by itself",
        "",
        f"sha256:{sha256}",
        "https://a.example/net.pth",
    )
    doctor._checked.cache_clear()
    (folder / "data/weights").mkdir(parents=True)
    (folder / "data/weights" / name).write_bytes(content)
    there = needs(raw, system="cam_crf")[name]
    assert (there.state, there.size) == ("present", "7 B")
    doctor._checked.cache_clear()
    (folder / "data/weights" / name).write_bytes(b"others!")
    assert needs(raw, system="cam_crf")[name].state == "of another checksum, delete it"


def test_trained_networks_need_their_own_file_alone(folder, raw):
    put(raw, "classifiers.eps_resnet38.trained", "data/weights/eps.pth")
    put(raw, "affinities.eps_resnet38.trained", "data/weights/aff.pth")
    found = needs(raw, system="eps_affinity_resnet38")
    assert {*found} == {"eps.pth", "aff.pth", "resnet101-63fe2227.pth", "pydensecrf2"}


def test_weights_that_torchvision_lacks(folder, raw):
    put(
        raw,
        "classifiers.base_cnn.backbone",
        {"name": "resnet38", "stride": 8, "batch_norm": "frozen", "frozen_stages": 0},
    )
    assert needs(raw, system="cam_crf")["imagenet of resnet38"].state == "missing, torchvision has none"


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_splits_before_the_lists_are_there(folder, raw):
    found = members(Config(raw).dataset("voc"))
    counts = {name: len(ids) for name, ids in found.items()}
    assert counts == {"train_aug": 10582, "train": 1464, "without_train": 9118, "thresholds": 100, "val": 1449}
    assert found["train"] < found["train_aug"] and not found["val"] & found["train_aug"]
    put(raw, "datasets.voc.splits.val.count", None)
    assert members(Config(raw).dataset("voc")) is None


def test_operations_are_those_of_the_published_networks(folder, raw):
    """GMACs of one image as measured on the authors' code; ResNet38 at 448, VGG16 and ResNet-101 at 321 pixels."""
    estimates = Estimates(Config(raw), "voc")
    for kind, name, side, expected in (
        ("classifiers", "eps_resnet38", 448, 399.3),
        ("affinities", "cam_resnet38", 448, 403.5),
        ("classifiers", "cam_vgg16", 448, 96.2),
        ("segmenters", "deeplab_v1_resnet101", 321, 73.2),
        ("segmenters", "deeplab_v2_vgg16", 321, 80.1),
    ):
        size, operations, sort = estimates._network(kind, name)
        assert operations * side**2 / 2e9 == pytest.approx(expected, rel=0.04), name  # sides round up to cells
        assert sort == "ordinary"
    assert size == pytest.approx(37.88e6 * 4, rel=0.001)
    training = estimates.cost("train_classifier", {"classifier": "eps_resnet38"})
    assert training.operations == pytest.approx(3.8e17, rel=0.03)  # as computed for the paper's recipe


def test_cost_of_maps(folder, raw):
    """Multi-scale maps of VOC's train_aug: 5.6 TMACs an image, and soft maps at a quarter of the sides."""
    estimates = Estimates(Config(put(raw, "datasets.voc.systems", ["eps_resnet38"])), "voc")
    cost = estimates.cost("cams", {"dataset": "voc", "seed": "0", "cam": "eps_resnet38"})
    assert cost.operations == pytest.approx(2 * 5.6e12 * 10582, rel=0.03)
    assert cost.bytes == pytest.approx(10582 * (2 * 2.55 * 375 * 500 / 16 + 1400 + 2 * 2700))


def test_hours():
    cost = Cost(operations=3600 * CORE["float32"]["ordinary"], seconds=3600)
    assert cost.hours(cores=1, gpus=0) == pytest.approx(2)
    assert cost.hours(cores=4, gpus=0) == pytest.approx(0.5)
    assert 0.25 < cost.hours(cores=4, gpus=1) < 0.26


def test_seeds_count_and_imported_networks_cost_nothing(folder, raw):
    one = Estimates(Config(raw), "voc")
    put(raw, "datasets.voc.seeds", [0, 1, 2])
    put(raw, "datasets.voc.segmentation_seeds", [0])
    three = Estimates(Config(raw), "voc")
    stages = [stage for stage, _ in three.jobs("cam")]
    assert stages.count("train_classifier") == 3 and stages.count("train_segmenter") == 1
    assert len(one.jobs("cam")) == 3 + 1 + 3
    put(raw, "classifiers.cam.trained", "x.pth")
    trained = Estimates(Config(raw), "voc").cost("train_classifier", {"classifier": "cam"})
    assert trained.operations == 0 and trained.bytes > 0


def test_instance_systems_count_too(folder, raw):
    """Mask R-CNN on ResNet-101: 63 million weights; the classifier behind COCO's instances is VOC's."""
    put(raw, "datasets.coco.instance_systems", ["bana_from_voc_agreement_vgg16", "truth_resnet101"])
    config = Config(raw)
    stages = instance_systems.chain(config, "coco", "bana_from_voc_agreement_vgg16")
    assert [(stage, names["dataset"]) for stage, names in stages] == [
        ("train_classifier", "voc"),
        ("masks", "coco"),
        ("masks", "coco"),
        ("instances", "coco"),
        ("train_instances", "coco"),
        ("detections", "coco"),
    ]
    estimates = Estimates(config, "coco")
    named = {stage: (stage, names) for stage, names in estimates.instance_jobs("truth_resnet101")}
    assert list(named) == ["instances", "train_instances", "detections"]
    training, finding = (estimates.cost(*named[stage]) for stage in ("train_instances", "detections"))
    assert training.bytes == pytest.approx(63.5e6 * 4, rel=0.03)
    assert (
        5 < training.operations / 2.56e6 / (finding.operations / 40137) < 9
    )  # 3 passes, a square canvas, 2.56 million images
    assert finding.operations / 40137 == pytest.approx(6.9e11, rel=0.25)  # 345 GMACs of an image; FPN on ResNet-101
    text, _ = doctor.report(config, "coco")
    assert "resnet101-63fe2227.pth" not in text and "vgg16_20M.pth" not in text  # instances are not asked for
    text, _ = doctor.report(config, "coco", ["results/coco/mask_ap.csv"])
    assert re.search(r"^results/coco/mask_ap.csv .* data set, .*vgg16_20M.pth", text, re.MULTILINE)
    assert re.search(r"^weights +\S+resnet101-63fe2227.pth +missing, comes by itself", text, re.MULTILINE)
    assert re.search(r"^archive +data/archives/voc2012 ", text, re.MULTILINE)


def test_cost_of_box_masks(folder, raw):
    """A dense CRF of few labels, GrabCut: 0.3 and 0.5 seconds of a core for an image."""
    estimates = Estimates(Config(raw), "voc")
    names = {"dataset": "voc", "seed": "0"}
    for mask, seconds in (("boxes", 0.005), ("grabcut", 0.5), ("box_crf", 0.31)):
        images = len(estimates.members["train_aug"])
        assert estimates.cost("masks", {**names, "mask": mask}).seconds / images == pytest.approx(seconds, rel=0.1), (
            mask
        )


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_demo_needs_nothing(folder, capsys):
    assert doctor.main(["results/demo", "--configfile", *(str(SOURCES / name) for name in SMALL)]) == 0
    out = capsys.readouterr().out
    assert "Data set demo: all is there" in out
    assert re.search(r"^eps_crf +\S+ [kM]?B +\d+ (s|min) +\d+ (s|min) +nothing$", out, re.MULTILINE)
    assert re.search(r"^packages +python \d", out, re.MULTILINE) and "all_train 24" in out


def test_a_missing_path_is_told_with_status_1(folder):
    change = {"datasets": {"demo": {"overrides": {"classifiers": {"base_cnn": {"initial": "nowhere/net.pth"}}}}}}
    (folder / "change.yaml").write_text(yaml.safe_dump(change))
    done = python(SOURCES, "-m", "workflow_scripts", "doctor", "demo", "--configfile", *SMALL, folder / "change.yaml")
    assert done.returncode == 1 and not done.stderr
    assert re.search(r"^weights +nowhere/net.pth +missing", done.stdout, re.MULTILINE)
    assert re.search(r"^eps +.* net.pth$", done.stdout, re.MULTILINE)
    assert re.search(r"^truth +.* net.pth$", done.stdout, re.MULTILINE) is None


def test_mistakes_are_one_line(folder):
    done = python(SOURCES, "-m", "workflow_scripts", "doctor", "dmo")
    assert done.returncode == 1 and done.stderr == "error: config: no data set 'dmo', did you mean 'demo'? correct it\n"


def test_every_shipped_data_set_and_system(folder):
    """Whatever the configuration has, the doctor has an answer."""
    raw = read_settings([SOURCES / "configs/voc_animals.yaml"])
    raw["datasets"]["voc"]["systems"] = list(raw["systems"])
    for dataset in raw["datasets"]:
        text, whole = doctor.report(Config(raw), dataset)
        assert whole == (dataset == "demo") or dataset == "voc_animals"
        assert "?" not in text


def test_weights_that_are_named_stand_in_the_documentation(folder, raw):
    page, config = (SOURCES / "docs/weights.md").read_text(encoding="utf-8"), Config(raw)
    for kind in ("classifiers", "affinities", "segmenters"):
        for name in config.names("voc", kind):
            for need in of_block(config, "voc", kind, name):
                if need.what == "weights":
                    assert f"`{Path(need.path).name}`" in page, (kind, name)
                    assert not need.path.startswith("data/") or need.source.split()[0].rpartition("/")[0] in page, (
                        need.source
                    )
