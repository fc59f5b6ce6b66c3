"""Mask rule `folder`: what people corrected becomes masks, other images keep theirs; files checked, staleness exact."""

import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import copy_sources, dry_run, put, refused
from conftest import run as snakemake
from demo_graph import named
from own_photographs import COMMON, CSV, HEIGHT, IDS, WIDTH, label_of, write_photographs
from PIL import Image
from small_images import noise, one_fault, png
from stage_runs import refused as stage_refused
from stage_runs import run

from workflow_scripts.commands import doctor
from workflow_scripts.config.layers import read_settings
from workflow_scripts.config.planning import systems
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config, merge
from workflow_scripts.data.readers.mask_folder import MaskFolder
from workflow_scripts.store.artifacts import Reader, create

CLASSES, SIZE = ("cat", "dog"), (HEIGHT, WIDTH)
CORRECTED = {"seed": "0", "mask": "corrected"}
MADE = "results/mine/seed-0/masks/{}.h5"
LABELS = "background:0,0,0::\ndog:9,9,9::\ncat:1,2,3::\nignored:7,7,7::\ntree:5,5,5::\n"
TRAINED = {"mask": "corrected", "segmenter": "large_fov", "predictions": ["single"]}


@cache
def config_of(otherwise: str | None, path: str) -> Config:
    """Photographs with a system that learns from corrected masks, over the library and `config.yaml`."""
    mine = merge(merge(COMMON, CSV), {"systems": ["corrected"], "overrides": {}})
    corrected = {"rule": "folder", "path": path, "otherwise": otherwise}
    change = {"masks": {"corrected": corrected}, "systems": {"corrected": TRAINED}, "datasets": {"mine": mine}}
    return Config(read_settings((), change))


def plan_of(otherwise: str | None, path: str = "corrected") -> Plan:
    return Plan(config_of(otherwise, path))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Photographs, their index, and corrected masks of two of them."""
    monkeypatch.chdir(tmp_path)
    write_photographs()
    write("corrected", label_of(0), IDS[0])
    write("corrected", label_of(1), IDS[3])
    assert run(plan_of("eps"), "index") is None
    return tmp_path


def write(folder: str, label: np.ndarray, *ids: str) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    for identifier in ids:
        Image.fromarray(label).save(f"{folder}/{identifier}.png")


def write_others(**arrays: np.ndarray) -> None:
    with create(MADE.format("eps"), "mask", dataset="mine", split="all", classes=CLASSES) as masks:
        for identifier in IDS:
            masks.put(identifier, **arrays)


# Stage


def test_corrected_masks_take_the_place_of_others(folder):
    other = np.full(SIZE, 2, np.uint8)
    write_others(label=other)
    assert run(plan_of("eps"), "masks", **CORRECTED) is None
    made = Reader(MADE.format("corrected"), "mask", "mine")
    assert made.ids == IDS[:6] and made.attributes["split"] == "all+rest"
    for identifier in IDS[:6]:
        expected = {IDS[0]: label_of(0), IDS[3]: label_of(1)}.get(identifier, other)
        np.testing.assert_array_equal(made.read(identifier)["label"], expected)


def test_both_label_maps_are_corrected(folder):
    write_others(label=np.zeros(SIZE, np.uint8), label_retrieved=np.ones(SIZE, np.uint8))
    assert run(plan_of("eps"), "masks", **CORRECTED) is None
    made = Reader(MADE.format("corrected"), "mask", "mine")
    assert {name: int(label.max()) for name, label in made.read(IDS[1]).items()} == {"label": 0, "label_retrieved": 1}
    for label in made.read(IDS[0]).values():
        np.testing.assert_array_equal(label, label_of(0))


def test_without_others_every_image_has_one(folder):
    wanted = [identifier for identifier in IDS[:6] if identifier not in {IDS[0], IDS[3]}]
    stage_refused(plan_of(None), "masks", "4 faults", *wanted, "`otherwise`", faults=4, **CORRECTED)
    write("corrected", label_of(1), *wanted, IDS[7])  # the last is in no split that masks are made for
    assert run(plan_of(None), "masks", **CORRECTED) is None
    assert Reader(MADE.format("corrected"), "mask", "mine").ids == IDS[:6]


def test_faults_of_masks_are_told_together(folder):
    write_others(label=label_of(0))
    write("corrected", np.zeros((HEIGHT, WIDTH - 1), np.uint8), IDS[1])
    write("corrected", np.full(SIZE, 3, np.uint8), IDS[2])
    write("corrected", label_of(0), IDS[6])  # not among these splits, and so not read
    Path(f"corrected/{IDS[6]}.png").write_bytes(b"")
    size = f"corrected/{IDS[1]}.png: the mask is {HEIGHT} x {WIDTH - 1}, its image {HEIGHT} x {WIDTH} (H x W)"
    value = f"corrected/{IDS[2]}.png: value 3 is none of the 2 classes, 0 (background) or 255 (ignored)"
    stage_refused(plan_of("eps"), "masks", "2 faults", size, value, faults=2, **CORRECTED)
    write("corrected", label_of(0), "photo_X")
    stage_refused(plan_of("eps"), "masks", "1 fault", "'photo_X'", "nearest known", faults=1, **CORRECTED)


def test_no_folder(folder):
    write_others(label=label_of(0))
    stage_refused(plan_of("eps", "nowhere"), "masks", "nowhere: no such folder or archive", **CORRECTED)


# Files


def read(path: str, identifier: str = "a") -> np.ndarray:
    return MaskFolder(path, CLASSES).read(identifier, SIZE)


def coloured(label: np.ndarray) -> Image.Image:
    """A label map in the colours of `LABELS`."""
    colours = np.zeros((256, 3), np.uint8)
    colours[[1, 2, 255]] = [1, 2, 3], [9, 9, 9], [7, 7, 7]
    return Image.fromarray(colours[label])


def test_labels_by_their_colours_or_their_places(tmp_path):
    masks = tmp_path / "SegmentationClass"
    masks.mkdir()
    (tmp_path / "labelmap.txt").write_text(LABELS)
    coloured(label_of(0)).save(masks / "a.png")
    palette = Image.fromarray(np.where(label_of(0) == 1, 17, 18).astype(np.uint8))  # values do not count
    palette.putpalette([*[0] * 51, 1, 2, 3, 7, 7, 7])
    palette.save(masks / "b.PNG")
    Image.fromarray(np.array([0, 2, 1, *[0] * 252, 3], np.uint8)[label_of(0)]).save(masks / "c.png")
    np.testing.assert_array_equal(read(tmp_path), label_of(0))
    np.testing.assert_array_equal(read(tmp_path, "b"), np.where(label_of(0) == 1, 1, 255))
    np.testing.assert_array_equal(read(tmp_path, "c"), label_of(0))
    Image.new("RGB", (WIDTH, HEIGHT), (1, 2, 4)).save(masks / "a.png")
    refused(lambda: read(tmp_path), masks / "a.png", "colour 1,2,4 is not in labelmap.txt")
    Image.new("RGB", (WIDTH, HEIGHT), (5, 5, 5)).save(masks / "a.png")
    refused(lambda: read(tmp_path), masks / "a.png", "label 'tree' is unknown", "nearest known class")
    Image.new("L", (WIDTH, HEIGHT), 5).save(masks / "a.png")
    refused(lambda: read(tmp_path), masks / "a.png", "value 5", "lists 5 labels")
    (tmp_path / "labelmap.txt").unlink()
    coloured(label_of(0)).save(masks / "a.png")
    refused(lambda: read(tmp_path), masks / "a.png", "has colours, not labels", "labelmap.txt")


def test_pictures_that_are_no_masks(tmp_path):
    for content, fragment in (
        (b"", "not a readable PNG"),
        (b"GIF89a", "not a readable PNG"),
        (png(WIDTH, HEIGHT, 8, 0, b"\0" + bytes(WIDTH))[:45], "truncated or corrupt"),
        (png(WIDTH, HEIGHT, 16, 0, b"\0" + b"\1\0" * WIDTH), "value 256 is none of the"),
        (png(WIDTH, HEIGHT, 16, 2, b"\0" + bytes(6 * WIDTH)), "RGB;16B"),
        (png(WIDTH, HEIGHT, 4, 0, b"\0" + b"\x33" * (WIDTH // 2)), "value 3 is none of the"),
        (png(WIDTH, HEIGHT, 8, 6, b"\0" + bytes(4 * WIDTH)), "RGBA"),
        (png(9000, 9000, 8, 0), "9000 x 9000, its image 20 x 30"),  # and is not decoded
        (bytes(5 << 20), "takes more than"),
    ):
        (tmp_path / "a.png").write_bytes(content)
        refused(lambda: read(tmp_path), tmp_path / "a.png", fragment)


def archive(path: Path, **files: bytes | str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name.replace("__", "/"), content)
    return path


def test_archives(tmp_path):
    coloured(label_of(1)).save(tmp_path / "a.png")
    mask = (tmp_path / "a.png").read_bytes()
    good = {"SegmentationClass__a.png": mask, "labelmap.txt": LABELS, "SegmentationObject__b.png": b"not read"}
    path = archive(tmp_path / "a.zip", **good, **{"SegmentationClass__sub__b.png": mask})
    found = MaskFolder(path, CLASSES)
    assert len(found) == 2 and "a" in found and "c" not in found
    np.testing.assert_array_equal(found.read("a", SIZE), label_of(1))
    np.testing.assert_array_equal(found.read("b", SIZE), label_of(1))
    one_fault(lambda: found.check_names("abc", ["c"]), path, "'c'", "`otherwise`")
    twice = MaskFolder(archive(path, **good, **{"SegmentationClass__x__a.png": mask}), CLASSES)
    one_fault(lambda: twice.check_names("a", []), path, "SegmentationClass/x/a.png", "the same image")
    refused(lambda: MaskFolder(archive(path, **{"a.png": mask}), CLASSES), path, "Segmentation mask 1.1")
    refused(lambda: MaskFolder(archive(path, **{"SegmentationClass__a.txt": ""}), CLASSES), path, "holds no mask")
    broken = {"SegmentationClass__a.png": mask, "labelmap.txt": b"\xff\xfe"}
    refused(lambda: MaskFolder(archive(path, **broken), CLASSES), f"{path}: labelmap.txt", "UTF-8")
    path.write_bytes(b"Rar!")
    refused(lambda: MaskFolder(path, CLASSES), path, "not a zip archive")
    damaged = bytearray(archive(path, **good).read_bytes())
    damaged[60:70] = bytes(10)
    path.write_bytes(damaged)
    refused(lambda: MaskFolder(path, CLASSES).read("a", SIZE), path, "cannot be unpacked")


def test_other_files_are_told(tmp_path, capsys):
    """The folder that `predict` writes: its overlays and its list of classes are no masks."""
    write(tmp_path, label_of(0), "a")
    (tmp_path / "classes.csv").touch()
    write(tmp_path / "overlays", noise(), "a")
    assert len(MaskFolder(tmp_path, CLASSES)) == 1
    assert "no masks by their names: classes.csv\n" in capsys.readouterr().out


# Configuration


def test_the_chain_of_a_system(folder):
    """The stages of the masks that fill the gaps, with all that these are made from, then the corrected ones."""
    made = plan_of("cam_affinity")
    stages = [
        (stage, names.get("mask") or names.get("cam") or names.get("affinity") or names.get("classifier"))
        for stage, names in systems.chain(made.config, "mine", "corrected")
    ]
    assert stages == [
        *(("train_classifier", "cam"), ("cams", "cam"), ("affinity_labels", "cam"), ("train_affinity", "cam")),
        *(("masks", "cam_affinity"), ("masks", "corrected")),
        *(("train_segmenter", "corrected"), ("predictions", "corrected")),
    ]
    job = made.job("masks", {"dataset": "mine", **CORRECTED})
    assert job.inputs["masks"] == MADE.format("cam_affinity") and job.modules == ("data.readers.mask_folder",)
    assert made.job("masks", {"dataset": "mine", "seed": "0", "mask": "cam_affinity"}).settings["splits"] == [
        "all",
        "rest",
    ]
    rows = [(row["stage"], row["split"]) for row in systems.rows(made.config, "mine", "corrected")]
    assert rows == [("cam", "rest"), ("mask", "rest"), ("segmentation", "val")]
    chain = systems.chain(made.config, "mine", "corrected")
    needed = [(need.path, need.state) for need in doctor.needs_of_jobs(made.config, chain)]
    assert ("corrected", "present") in needed
    alone = plan_of(None)
    assert [stage for stage, _ in systems.chain(alone.config, "mine", "corrected")][0] == "masks"
    assert alone.job("masks", {"dataset": "mine", **CORRECTED}).inputs["masks"] == []


def test_a_circle_is_refused(raw):
    block = {"rule": "folder", "path": "x"}
    put(raw, "masks.one", block | {"otherwise": "two"})
    put(raw, "masks.two", block | {"otherwise": "one"})
    refused(lambda: Config(raw), "masks.one.otherwise: goes in a circle: one -> two -> one")
    put(raw, "masks.two", block | {"otherwise": "epss"})
    refused(lambda: Config(raw), "masks.two.otherwise: masks has no block 'epss', did you mean 'eps'?")


def test_what_the_digest_sees(folder):
    """One corrected file, a list of labels or an archive changes the settings of these masks, nothing else of the folder."""

    def digest(path: str = "corrected") -> str:
        return plan_of("eps", path).job("masks", {"dataset": "mine", **CORRECTED}).settings["sources"]

    before = digest()
    Path("corrected/notes.txt").touch()
    write("corrected/SegmentationObject", label_of(0), "a")
    assert digest() == before
    write("corrected", label_of(1), IDS[0])
    edited = digest()
    Path("corrected/labelmap.txt").write_text(LABELS)
    named = digest()
    write("corrected/SegmentationClass", label_of(1), IDS[1])
    archive(Path("a.zip"), a="1")
    first = digest("a.zip")
    archive(Path("a.zip"), a="2")
    assert len({before, edited, named, digest(), first, digest("a.zip")}) == 6


def test_one_corrected_file_changes_what_is_below(tmp_path, monkeypatch):
    """The workflow itself, from boxes, so that nothing is trained: nothing but the corrected masks and their users run."""
    monkeypatch.chdir(copy_sources(tmp_path / "tree"))
    write_photographs()
    write("corrected", label_of(0), *IDS[:2])
    change = {
        "masks": {"corrected": {"rule": "folder", "path": "corrected", "otherwise": "boxes"}},
        "systems": {
            "boxes": {"mask": "boxes", "segmenter": None, "predictions": []},
            "corrected": {"mask": "corrected"},
        },
        "datasets": {"mine": COMMON | CSV | {"systems": ["boxes", "corrected"], "overrides": {}}},
    }
    Path("mine.yaml").write_text(yaml.safe_dump(change))
    target, configfiles = "results/mine/miou.csv", ["config.yaml", "mine.yaml"]
    done = snakemake(Path.cwd(), target, configfiles=configfiles)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert named(dry_run(Path.cwd(), target, configfiles=configfiles)) == set()
    for number in range(2):  # a changed one, and a new one
        write("corrected", label_of(1), IDS[1 + number])
        found = named(dry_run(Path.cwd(), target, configfiles=configfiles))
        assert found == {"masks corrected", "score_masks corrected", "miou"}
