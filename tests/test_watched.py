"""Every file of the user's that a stage opens makes it, or the index that it reads, stale when its content changes.

The files are those that Python really opens while the stages run, told by an audit hook; so a reader of a new kind of file is
found out whatever it reads. A photograph that is replaced while a job reads it is found out by its digest in the index.
"""

import importlib
import json
import os
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import stage_runs
from conftest import refused
from own_photographs import COMMON, CSV, HEIGHT, IDS, VOC, WIDTH, label_of, plan_of, write_photographs
from PIL import Image
from scipy.io import savemat
from small_archives import inst, mat, sbd_label

from workflow_scripts.config.fingerprint import closure
from workflow_scripts.config.layers import merge, read_settings
from workflow_scripts.config.planning import sources
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.salient_folder import Folder

SOURCES = Path(__file__).parent.parent
opened: list[str] | None = None  # while a test listens


def hear(event: str, args: tuple) -> None:
    if event == "open" and opened is not None and isinstance(args[0], str | bytes | os.PathLike):
        writes = args[2] & (os.O_WRONLY | os.O_RDWR) if isinstance(args[2], int) else "r" not in str(args[1] or "r")
        if not writes:
            opened.append(os.fsdecode(args[0]))


sys.addaudithook(hear)  # for as long as Python runs; it does nothing outside these tests


def files_opened(call) -> set[Path]:
    """The user's files in the current folder that the call opens to read."""
    global opened
    opened, here = [], Path.cwd().resolve()
    try:
        call()
        found = {Path(name).resolve() for name in opened}
    finally:
        opened = None
    own = {path.relative_to(here) for path in found if path.is_relative_to(here)}
    return {path for path in own if path.parts[0] not in ("results", "logs") and path.is_file()}


def settings_of(config: Config, stage: str, names: dict) -> set[str]:
    """Those of a job and of the index, which every job reads; planned anew."""
    plan = Plan(config)
    return {plan.settings(stage, names), plan.settings("index", names)}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_photographs()
    return tmp_path


def watch(config: Config, monkeypatch, *stages: str, **names: str) -> dict[str, set[Path]]:
    """Run the stages; each file that one opened makes it stale, and each module that it looked up is in its digest."""
    names, found = {"dataset": "mine", **names}, {}
    for stage in stages:
        plan, looked_up, whole = Plan(config), set[str](), importlib.import_module

        def listening(name: str, *more, looked_up=looked_up, whole=whole):
            looked_up.add(name)
            return whole(name, *more)

        plan.settings(stage, names)  # planning opens files itself
        with monkeypatch.context() as patch:
            patch.setattr("workflow_scripts.base.plugins.import_module", listening)
            found[stage] = files_opened(lambda plan=plan, stage=stage: run(plan, stage, names))
        code = closure(plan.modules(stage, names))
        assert {name.removeprefix("workflow_scripts.") for name in looked_up} <= {*code}, stage
        before = settings_of(config, stage, names)
        for path in sorted(found[stage]):
            content = path.read_bytes()
            path.write_bytes(content + b"\0")
            assert settings_of(config, stage, names) != before, f"{stage} reads {path}, which nobody watches"
            path.write_bytes(content)
        assert settings_of(config, stage, names) == before
    return found


def run(plan: Plan, stage: str, names: dict) -> None:
    assert stage_runs.run(plan, stage, **names) is None


TABLES = {
    "mine": {
        "title": "x",
        "source": "x",
        "dataset": "mine",
        "columns": [
            {"recall": {"measure": "boundary", "value": "recall", "tolerance": 0.02}},
            {"confusion": {"measure": "confusion_ratio", "of": "cat", "context": {"mine": "water"}}},
        ],
        "rows": [["ours", None, None]],
    }
}


def config_of(data: dict, **sections) -> Config:
    whole = merge(read_settings(), {"datasets": {"mine": merge(COMMON, data)}, "tables": TABLES})
    return Config(merge(whole, sections))


def test_a_voc_tree_with_sbd_and_pascal_context(folder, monkeypatch):
    for name in ("SegmentationObject", "../SBD/cls", "../SBD/inst", "../Context"):
        Path("VOC", name).resolve().mkdir(parents=True)
    for number, identifier in enumerate(IDS):
        label = label_of(number)
        Image.fromarray(np.where(label == 255, 255, label > 0).astype(np.uint8)).save(
            f"VOC/SegmentationObject/{identifier}.png"
        )
        Path(f"SBD/cls/{identifier}.mat").write_bytes(mat(sbd_label(number)))
        edges = np.zeros((HEIGHT, WIDTH))
        edges[3, 3:20] = 1
        savemat(f"SBD/cls/{identifier}.mat", {"GTcls": {"Segmentation": sbd_label(number), "Boundaries": edges}})
        Path(f"SBD/inst/{identifier}.mat").write_bytes(inst(sbd_label(number)))
        savemat(f"Context/{identifier}.mat", {"LabelMap": np.full((HEIGHT, WIDTH), 431, np.uint16)})
    Path("Context/labels.txt").write_text("431: water\n")
    # One image's truth is in SBD alone, one list is SBD's, pictures have other endings
    for part in ("SegmentationClassAug", "SegmentationObject"):
        Path(f"VOC/{part}/{IDS[2]}.png").unlink()
    shutil.move("VOC/val.txt", "SBD/more.txt")
    for identifier, suffix in zip(IDS, (".JPG", ".png", ".jpeg", ".bmp", ".tif"), strict=False):
        path = Path(f"VOC/JPEGImages/{identifier}.jpg")
        picture = Image.open(path).convert("RGB")
        path.unlink()
        picture.save(path.with_suffix(suffix))
    data = VOC | {"objects": "SegmentationObject", "sbd": "SBD", "context": "Context"}
    data["splits"] = data["splits"] | {"val": {"ids": "train.txt", "sbd": ["more.txt"]}, "all": {"ids": "train.txt"}}
    found = watch(config_of(data), monkeypatch, "index", "truth", "instance_truth")
    assert len([path for path in found["index"] if "JPEGImages" in path.parts]) == len(IDS)
    assert {Path(f"SBD/cls/{IDS[2]}.mat")} < found["truth"] and Path(f"SBD/inst/{IDS[2]}.mat") in found[
        "instance_truth"
    ]
    config, names = config_of(data), {"seed": "0", "mask": "truth"}
    run(Plan(config), "masks", {"dataset": "mine", **names})
    found = watch(config, monkeypatch, "boundaries", "confusion_ratios", **names)
    assert {path.parts[:2] for path in found["boundaries"]} == {("SBD", "cls")} and len(found["boundaries"]) >= 4
    assert Path("Context/labels.txt") in found["confusion_ratios"] and len(found["confusion_ratios"]) >= 2


def test_a_table_with_folders_of_saliency_and_corrected_masks(folder, monkeypatch):
    shutil.copytree("masks", "corrected")
    config = config_of(CSV, masks={"corrected": {"rule": "folder", "path": "corrected"}})
    watch(config, monkeypatch, "index", "truth")
    assert len(watch(config, monkeypatch, "saliency", saliency="supplied")["saliency"]) == len(IDS)
    assert watch(config, monkeypatch, "masks", seed="0", mask="corrected")["masks"]


COCO = {"kind": "coco", "root": ".", "unlabelled": "ignore", "crowd": "class", "overlap": "later"} | {
    "splits": {"all": {"ids": "a.json", "folder": "pictures"}, "val": {"ids": "b.json", "folder": "pictures"}}
}
NAMES = ("a.jpeg", "b.JPG", "2021/c.jpg", "2021/may/d.PNG", "e", "f.jfif", "g.tiff", "2022/h.webp")


def write_coco(classes: list[str]) -> None:
    for number, name in enumerate(NAMES):
        Path("pictures", name).parent.mkdir(parents=True, exist_ok=True)
        kind = {".PNG": "PNG", ".tiff": "TIFF", ".webp": "WEBP"}.get(Path(name).suffix, "JPEG")
        Image.open(f"VOC/JPEGImages/{IDS[number]}.jpg").save(f"pictures/{name}", format=kind)
    for file, numbers in (("a.json", range(6)), ("b.json", range(6, 8))):
        images = [{"id": n, "file_name": NAMES[n], "width": WIDTH, "height": HEIGHT} for n in numbers]
        polygon = [[5, 5, 19, 5, 19, 13, 5, 13]]
        objects = [
            {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [5, 5, 14, 8], "iscrowd": 0, "area": 112.0}
            | {"segmentation": polygon}
            for n in numbers
        ]
        categories = [{"id": n, "name": name} for n, name in enumerate(classes, start=1)]
        Path(file).write_text(json.dumps({"images": images, "annotations": objects, "categories": categories}))


def test_coco_with_folders_and_pictures_of_any_ending(folder, monkeypatch):
    write_coco(["cat", "dog"])
    data = COCO | {"splits": COCO["splits"] | VOC["splits"] | COCO["splits"]}
    found = watch(config_of(data), monkeypatch, "index", "truth", "instance_truth")
    assert {Path("pictures", name) for name in NAMES} < found["index"]
    assert {Path("a.json"), Path("b.json")} <= found["truth"] & found["instance_truth"]


def test_coco_with_pixel_maps(folder, monkeypatch):
    classes = list(read_settings()["datasets"]["coco"]["classes"])
    write_coco(classes)
    Path("maps").mkdir()
    with h5py.File("ids.h5", "w"):
        pass
    splits = COCO["splits"] | {name: split for name, split in VOC["splits"].items() if "of" in split}
    config = config_of(COCO | {"classes": classes, "maps": ["maps"], "splits": splits})
    run(Plan(config), "index", {"dataset": "mine"})
    for identifier in read_index("results/mine/index.h5").ids:
        Image.fromarray(np.zeros((HEIGHT, WIDTH), np.uint8)).save(f"maps/{identifier}.png")
    found = watch(config, monkeypatch, "truth")
    assert len([path for path in found["truth"] if path.parts[0] == "maps"]) >= 4


def test_a_folder_that_a_saliency_network_learns_from(folder):
    """Without its training: what is opened is what the job's digest is made of."""
    shutil.copytree("VOC/JPEGImages", "duts/images")
    shutil.copytree("Saliency", "duts/masks")
    data = {"images": "duts/images", "masks": "duts/masks"}
    name = next(name for name, block in read_settings()["saliency"].items() if "data" in block)

    def settings() -> str:
        config = config_of(
            CSV,
            saliency={"mine": {"base": name, "input": {"side": 16}, "data": data | {"rendered": None}}},
        )
        return Plan(config).settings("train_saliency", {"dataset": "mine", "saliency": "mine"})

    before = settings()
    found = files_opened(lambda: Folder(data["images"], data["masks"]).read(0))
    assert len(found) == 2 * len(IDS)
    for path in found:
        content = path.read_bytes()
        path.write_bytes(content + b"\0")
        assert settings() != before
        path.write_bytes(content)


def test_what_is_put_beside_pictures_by_others_does_not_count(folder):
    write_coco(["cat", "dog"])
    dataset = config_of(COCO | {"splits": COCO["splits"] | VOC["splits"] | COCO["splits"], "root": "."}).dataset("mine")
    everything = dataset.model_copy(
        update={"splits": {"all": dataset.splits["all"].model_copy(update={"folder": "."})}}
    )
    before = sources.digest("mine", everything, "images")
    for name in ("results/mine/x.h5", "logs/x.log", ".snakemake/x", "pictures/.DS_Store", "pictures/2021/Thumbs.db"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("x")
    Path("pictures/2021/round").symlink_to(Path("pictures").resolve())
    assert sources.digest("mine", everything, "images") == before
    Path("pictures/2021/may/d.PNG").write_bytes(b"another")
    assert sources.digest("mine", everything, "images") != before


# Photographs that change while a job runs


def test_a_photograph_that_was_replaced_and_put_back(folder):
    """Of the same size, so that only its bytes tell."""
    plan = plan_of(CSV)
    assert stage_runs.run(plan, "index") is None
    images, path = Images(read_index("results/mine/index.h5"), None), Path(f"VOC/JPEGImages/{IDS[3]}.jpg")
    content, pixels = path.read_bytes(), images.read(IDS[3])
    Image.new("RGB", (WIDTH, HEIGHT), "red").save(path)
    refused(lambda: images.read(IDS[3]), path, "changed since the index was made", "run again")
    images.read(IDS[4])
    path.write_bytes(content)
    np.testing.assert_array_equal(images.read(IDS[3]), pixels)
