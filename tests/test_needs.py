"""What jobs need and no job makes: told when a run is planned, for the jobs that would run alone, all together."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest
import torch
import yaml
from conftest import copy_sources, put, run
from own_photographs import CSV, VOC, plan_of, write_photographs
from PIL import Image
from torchvision import models

from workflow_scripts.config import families
from workflow_scripts.config.planning import needs
from workflow_scripts.config.planning.members import emptied, known_members
from workflow_scripts.config.planning.rules import Rules
from workflow_scripts.config.resolve import Config
from workflow_scripts.workflow import planned

RESNET38 = "data/weights/ilsvrc-cls_rna-a1_cls1000_ep-0001.params"
DEIT = "data/weights/deit_small_patch16_224-cd65a155.pth"
SEED = {"dataset": "voc", "seed": "0"}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty folder, with nothing that libraries have downloaded."""
    monkeypatch.chdir(tmp_path)
    for name in ("TORCH_HOME", "REMBG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.delenv("U2NET_HOME", raising=False)
    return tmp_path


def write(path: str, content: bytes = b"x") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content)


def of(raw: dict, stage: str, **names) -> list[str]:
    """Lines on what a job lacks."""
    return needs.lines(needs.of_job(Config(raw), stage, SEED | names))


# --- jobs -------------------------------------------------------------------------------------------------------------


def test_weights_by_path_with_their_address_size_and_checksum(folder, raw):
    (line,) = of(raw, "train_classifier", classifier="mctformer_v2")
    assert line == (
        f"{DEIT}: missing; weights of classifiers.mctformer_v2 (88 MB, sha256:cd65a155); "
        "get it from https://dl.fbaipublicfiles.com/deit/deit_small_patch16_224-cd65a155.pth"
    )
    assert of(raw, "cams", cam="mctformer") == []  # which reads what the training makes
    write(DEIT, b"")
    assert "of 0 bytes" in of(raw, "train_classifier", classifier="mctformer_v2")[0]
    write(DEIT)
    assert of(raw, "train_classifier", classifier="mctformer_v2") == []
    put(raw, "classifiers.mctformer_v2.trained", "data/weights/mine.pth")
    (line,) = of(raw, "train_classifier", classifier="mctformer_v2")
    assert line.startswith("data/weights/mine.pth: missing; weights of classifiers.mctformer_v2; put it there")


def test_what_comes_by_itself_is_not_missing(folder, raw):
    for stage, names in (
        ("train_classifier", {"classifier": "cam"}),
        ("train_segmenter", {"mask": "cam", "segmenter": "deeplab_v1_resnet101"}),
        ("saliency", {"saliency": "u2net"}),
        ("unpack", {"archive": "voc2012"}),
    ):
        assert of(raw, stage, **names) == [], stage
    put(
        raw,
        "classifiers.base_cnn.backbone",
        {"name": "resnet38", "stride": 8, "batch_norm": "frozen", "frozen_stages": 0},
    )
    (line,) = of(raw, "train_classifier", classifier="cam")
    assert line.startswith("imagenet of resnet38: missing, torchvision has none")


def test_packages(folder, raw, monkeypatch):
    assert of(raw, "masks", mask="eps_crf") == []
    monkeypatch.setattr(needs, "installed", lambda name: False)
    for stage, names, name in (
        ("saliency", {"saliency": "u2net"}, "rembg"),
        ("masks", {"mask": "eps_crf"}, "pydensecrf2"),
        ("affinity_labels", {"affinity": "eps"}, "pydensecrf2"),
        ("predictions", {"mask": "eps", "segmenter": "large_fov", "prediction": "multi_crf"}, "pydensecrf2"),
    ):
        assert [line.split(":")[0] for line in of(raw, stage, **names)] == [name], stage
        assert "pip install" in of(raw, stage, **names)[0]
    assert of(raw, "masks", mask="eps") == []


def test_saliency_maps_models_and_masks_of_the_users(folder, raw):
    put(raw, "saliency.u2net.models", "models")
    assert [line.split(":")[0] for line in of(raw, "saliency", saliency="u2net")] == ["models/u2net.onnx"]
    assert [line.split(":")[0] for line in of(raw, "saliency", saliency="supplied")] == ["data/saliency"]
    assert [line.split(":")[0] for line in of(raw, "saliency", saliency="dss_published")] == [
        "data/weights/dss_port.pth"
    ]
    assert [line.split(":")[0] for line in of(raw, "train_saliency", saliency="pfan")] == [
        "data/DUTS-TR/DUTS-TR-Image",
        "data/DUTS-TR/DUTS-TR-Mask",
    ]
    put(raw, "masks.mine", {"rule": "folder", "path": "corrected.zip"})
    assert [line.split(":")[0] for line in of(raw, "masks", mask="mine")] == ["corrected.zip"]
    write("models/u2net.onnx"), write("corrected.zip")
    assert of(raw, "saliency", saliency="u2net") == of(raw, "masks", mask="mine") == []


def test_archives_that_cannot_be_used(folder, raw):
    put(raw, "archives.sbd.checksum", None)
    (line,) = of(raw, "unpack", archive="sbd")
    assert line.startswith("data/archives/sbd: missing, and so is its checksum; archive of archives.sbd")
    assert "set archives.sbd.checksum; run `snakemake data/archives/sbd` alone" in line
    assert of(raw, "archives", archive="sbd") == []  # that run is let go
    put(raw, "archives.sbd.path", "mine.tgz")
    put(raw, "archives.sbd.checksum", "md5:" + "0" * 32)
    assert of(raw, "unpack", archive="sbd")[0].startswith("mine.tgz: missing; archive of archives.sbd")
    write("data/unpacked/sbd.json")
    assert of(raw, "unpack", archive="sbd") == []


@pytest.mark.parametrize(("data", "path"), [(VOC, "VOC/train.txt"), (CSV, "table.csv")])
def test_lists_tables_and_maps_of_the_users(folder, data, path):
    config = plan_of(data).config
    names = {"dataset": "mine", "saliency": "supplied"}
    assert path in {need.path for need in needs.of_job(config, "index", names) if need.blocks}
    write_photographs()
    assert needs.lines(needs.of_job(config, "index", names)) == []
    assert needs.lines(needs.of_job(config, "saliency", names)) == []
    Path("Saliency/photo_2.png").unlink()
    (line,) = needs.lines(needs.of_job(config, "saliency", names))
    assert line.startswith("Saliency: missing 1 of 8; saliency of saliency.supplied (7 files); put {id}.png")


def test_one_line_for_each_thing_with_the_number_of_its_users(folder, raw):
    config = Config(raw)
    found = [
        need
        for name in ("eps_resnet38", "cam_resnet38", "mctformer_v2")
        for need in needs.of_job(config, "train_classifier", SEED | {"classifier": name})
    ]
    assert [line.partition(" (")[0] for line in needs.lines(found)] == [
        f"{RESNET38}: missing; weights of classifiers.eps_resnet38 and 1 more",
        f"{DEIT}: missing; weights of classifiers.mctformer_v2",
    ]


def test_addresses_are_those_that_libraries_fetch_from(folder):
    """What is told of torchvision's and rembg's files is what the installed versions say."""
    published = {
        ("mobilenet_v2", None): models.MobileNet_V2_Weights.IMAGENET1K_V1,
        ("resnet", 50): models.ResNet50_Weights.IMAGENET1K_V1,
        ("resnet", 101): models.ResNet101_Weights.IMAGENET1K_V1,
        ("vgg16", None): models.VGG16_Weights.IMAGENET1K_V1,
    }
    assert published.keys() == needs.TORCHVISION.keys()
    for key, known in needs.TORCHVISION.items():
        assert published[key].url == needs.TORCHVISION_URL + known.source
        assert known.checksum.removeprefix("sha256:") in known.source
    assert needs.hub_folder() == os.path.join(torch.hub.get_dir(), "checkpoints")
    rembg = pytest.importorskip("rembg.sessions")
    block = families.classes(families.union("saliency"))[1]["rembg"]
    for model in get_args(block.model_fields["model"].annotation):
        (known,) = block(detector="rembg", model=model).needed_files()
        module = Path(__import__(rembg.sessions[model].__module__, fromlist=["x"]).__file__).read_text()
        assert known.source in module and known.checksum in module


# --- splits -----------------------------------------------------------------------------------------------------------


def test_splits_that_a_limit_empties(folder, raw):
    """COCO's list is not there: its published count tells; the part without `thresholds` has nothing left."""
    assert emptied(Config(raw).dataset("coco")) == []
    put(raw, "datasets.coco.limit", 100)
    (line,) = of(raw, "index", dataset="coco")
    assert line == (
        "datasets.coco.splits.scored: empty under datasets.coco.limit 100; images; raise datasets.coco.limit, or take it away"
    )
    put(raw, "datasets.coco.limit", 101)
    assert of(raw, "index", dataset="coco") == []
    put(raw, "datasets.voc.limit", 1)
    assert of(raw, "index") == []  # SBD's lists are not known


def test_members_of_lists_and_tables(folder):
    write_photographs()
    for data in (VOC, CSV):
        found = known_members(plan_of(data).config.dataset("mine"))
        assert found["all"] == found["held_out"] + found["rest"] and len(found["held_out"]) == 2
        assert set(found["val"]) <= {f"photo_{number}" for number in range(8)}
        limited = plan_of(data, limit=2).config.dataset("mine")
        assert emptied(limited) == ["rest"] and known_members(limited)["all"] == found["all"][:2]


# --- planning ---------------------------------------------------------------------------------------------------------


def test_jobs_of_other_workflows_need_nothing(raw, folder):
    def job(params: dict, **wildcards):
        return SimpleNamespace(rule=SimpleNamespace(params=params), wildcards=wildcards)

    ours = job({"settings": Rules(raw).settings("train_classifier")}, **SEED, classifier="mctformer_v2")
    others = [job({}), job({"settings": 3}), job({"settings": lambda wildcards: "x"})]
    assert planned.missing([*others]) == []
    (line,) = planned.missing([*others, ours, ours])
    assert line.startswith(DEIT)


def test_packages_of_jobs_in_environments_are_not_known(raw, folder, monkeypatch):
    monkeypatch.setattr(needs, "installed", lambda name: False)
    settings = Rules(raw).settings("masks")
    job = SimpleNamespace(rule=SimpleNamespace(params={"settings": settings}), wildcards=SEED | {"mask": "eps_crf"})
    assert planned.missing([job])[0].startswith("pydensecrf2: missing")
    assert planned.missing([job], own_packages=False) == []


def test_truth_masks_are_needed_by_what_reads_them(folder):
    config, names = plan_of(VOC).config, {"dataset": "mine"}
    write_photographs()
    os.rename("VOC/SegmentationClassAug", "gone")
    assert needs.lines(needs.of_job(config, "index", names)) == []
    (line,) = needs.lines(needs.of_job(config, "truth", names))
    assert line.startswith("VOC/SegmentationClassAug: missing; truth masks of datasets.mine")


def test_snakemake_refuses_what_cannot_finish(tmp_path):
    """All that is missing at once, for jobs that would run alone; a dry run shows its jobs first."""
    folder = copy_sources(tmp_path)
    for name in "ab":
        Image.new("RGB", (40, 40)).save(folder / f"{name}.png")
    (folder / "t.csv").write_text("id,image,labels\na,a.png,cat\nb,b.png,cat\n")
    use = {"train": "all", "masks": "all", "evaluation": ["all"]}
    mine = {"kind": "csv", "table": "t.csv", "classes": ["cat"], "splits": {"all": {"ids": ""}}, "use": use}
    mine |= {
        "seeds": [0],
        "torch_threads": 1,
        "workers": 1,
        "gpus": 0,
        "threshold": 0.2,
        "montage": 1,
        "systems": ["eps"],
    }
    mine["overrides"] = {"classifiers": {"eps": {"initial": "no/net.pth", "saliency": "supplied"}}}
    (folder / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"mine": mine}}))
    cam, index = "results/mine/seed-0/cams/eps.h5", "results/mine/index.h5"

    def said(*targets, options=()):
        done = run(folder, *targets, configfiles=("mine.yaml",), options=options)
        return done.returncode, done.stderr + done.stdout  # the second of a dry run

    expected = [
        "Error: What this run needs is not there, and no job makes it; nothing was run:",
        "error: data/saliency: missing; saliency of saliency.supplied; put {id}.png of every image there, any detector's, or "
        "name another saliency block",
        "error: no/net.pth: missing; weights of classifiers.eps; put it there, or name another path",
    ]
    for options in ([], ["--dry-run"]):
        status, text = said(cam, options=options)
        above, _, told = text.partition(expected[0])
        assert status == 1 and sorted(told.splitlines()[1:3]) == expected[1:], text
        assert ("train_classifier" in above) == bool(options)
        assert not (folder / "results").exists() or not any((folder / "results").rglob("*.h5"))
    assert said(index)[0] == 0  # which needs none of that
