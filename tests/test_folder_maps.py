"""Maps that other code made: formats, order of classes, sizes and ranges, what is refused, and the workflow behind them."""

import io
import os
import pickle
import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
import yaml
from conftest import copy_sources, dry_run, put, refused
from conftest import run as snakemake
from demo_graph import named
from own_photographs import COMMON, CSV, HEIGHT, IDS, WIDTH, plan_of, write_photographs
from PIL import Image
from stage_runs import refused as stage_refused
from stage_runs import run

from workflow_scripts.base.errors import UserError
from workflow_scripts.commands import doctor
from workflow_scripts.config.planning import systems
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.folder_maps import FolderMaps
from workflow_scripts.data.maps import stored_size
from workflow_scripts.data.readers.array_files import read_arrays
from workflow_scripts.store.artifacts import Reader, create

THEIRS = {"seed": "0", "cam": "theirs"}
MADE = "results/mine/seed-0/cams/theirs.h5"
SIZE, STORED = (HEIGHT, WIDTH), (5, 8)
CLASSES = ("cat", "dog", "owl")

# Files of NumPy


def read_back(tmp_path, value):
    np.save(tmp_path / "a.npy", value, allow_pickle=True)
    return read_arrays(tmp_path / "a.npy")


def same(found, expected):
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            same(found[key], expected[key])
    else:
        np.testing.assert_array_equal(found, np.asarray(expected))
        assert np.asarray(found).dtype == np.asarray(expected).dtype


ARRAY = np.random.default_rng(0).random((2, 3, 4), np.float32)
CONTENTS = {
    "as PSA, EPS, MCTformer": {3: ARRAY[0], 7: ARRAY[1]},
    "as IRN": {"keys": torch.tensor([3, 7]), "cam": torch.from_numpy(ARRAY), "high_res": ARRAY},
    "a part of a tensor": {"keys": torch.tensor([[0, 3], [1, 7]])[:, 1], "cam": torch.from_numpy(ARRAY).transpose(1, 2)[1:]},
    "half precision": {0: torch.from_numpy(ARRAY).half(), 1: ARRAY[0].astype(np.float16)},
    "column order": {0: np.asfortranarray(ARRAY[0])},
    "big-endian": {0: ARRAY[0].astype(">f4")},
    "nothing": {},
    "an array": ARRAY,
}  # fmt: skip


@pytest.mark.parametrize("name", CONTENTS)
def test_what_is_saved_is_read(tmp_path, name):
    content = CONTENTS[name]
    same(read_back(tmp_path, content), content)


def test_keys_of_numpy_are_numbers_and_texts(tmp_path):
    found = read_back(tmp_path, {np.int64(3): ARRAY[0], np.str_("dog"): ARRAY[1], "of": np.float32(0.5)})
    assert [(type(key), key) for key in found] == [(int, 3), (str, "dog"), (str, "of")] and found["of"] == 0.5


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_any_age(tmp_path, protocol):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": (), "fortran_order": False, "descr": "|O"})
    content = {3: ARRAY[0], "b": 2.0}  # a scalar becomes a number
    data = pickle.dumps(np.array({3: ARRAY[0], "b": np.float32(2)}, object), protocol=protocol)
    for old in (data, data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray") if protocol < 4 else data):
        (tmp_path / "a.npy").write_bytes(header.getvalue() + old)
        same(read_arrays(tmp_path / "a.npy"), content)


class Starts:
    """Runs a command when it is unpickled."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


EVIL = {
    "posix.system": Starts(os.system, ("touch started",)),
    "subprocess.Popen": Starts(subprocess.Popen, (["touch", "started"],)),
    "builtins.eval": Starts(eval, ("open('started', 'w')",)),
    "builtins.getattr": Starts(getattr, (np.ndarray, "tofile")),
    "pathlib": Path("x"),
    "datetime": np.datetime64("2020-01-01"),
}


@pytest.mark.parametrize("name", EVIL)
def test_nothing_that_a_file_names_is_called(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", {0: EVIL[name]}, allow_pickle=True)
    with pytest.raises(UserError, match="^a.npy: ") as caught:
        read_arrays("a.npy")
    assert "\n" not in str(caught.value) and not Path("started").exists()
    assert name in str(caught.value) or name == "datetime" and "no numbers" in str(caught.value)


def test_a_tensor_stays_within_its_numbers(tmp_path):
    data = io.BytesIO()
    np.save(data, {0: torch.arange(6.0)}, allow_pickle=True)
    for wrong in (b"K\x07\x85", b"J\xff\xff\xff\x7f\x85"):  # seven numbers, or two thousand million, of six
        (tmp_path / "a.npy").write_bytes(data.getvalue().replace(b"K\x06\x85", wrong, 1))
        with pytest.raises(UserError, match="a tensor of another size than its numbers"):
            read_arrays(tmp_path / "a.npy")


def test_damaged_files(tmp_path):
    np.save(tmp_path / "whole.npy", {0: ARRAY}, allow_pickle=True)
    np.save(tmp_path / "plain.npy", ARRAY)
    for name in ("whole", "plain"):
        data = (tmp_path / f"{name}.npy").read_bytes()
        for size in (0, 5, 40, len(data) - 8):
            (tmp_path / "cut.npy").write_bytes(data[:size])
            with pytest.raises(UserError, match="cut.npy: ") as caught:
                read_arrays(tmp_path / "cut.npy")
            assert "\n" not in str(caught.value)
    (tmp_path / "large.npy").write_bytes((tmp_path / "plain.npy").read_bytes().replace(b"(2, 3, 4)", b"(2, 3, 9**9)"))
    for name in ("large", "absent"):
        with pytest.raises(UserError, match=f"{name}.npy: "):
            read_arrays(tmp_path / f"{name}.npy")
    np.save(tmp_path / "text.npy", np.array(["a"]))
    with pytest.raises(UserError, match="are no numbers"):
        read_arrays(tmp_path / "text.npy")


# Images


class Index(SimpleNamespace):
    classes = CLASSES

    def classes_of(self, identifier):
        return np.array(self.row[identifier], np.int16)

    def size_of(self, identifier):
        return SIZE


def maps_of(path, row, classes=None, **block) -> FolderMaps:
    """Of images and the classes that they show."""
    plain = {"classes": classes, "background": False, "resolution": 4, "normalise": None, "stretched": False}
    return FolderMaps(SimpleNamespace(path=str(path), **(plain | {"missing": "refuse"} | block)), Index(row=row))


def soft(*shape, seed=0) -> np.ndarray:
    """Maps whose values float16 holds as they are."""
    return (np.random.default_rng(seed).integers(0, 1025, shape) / 1024).astype(np.float32)


def read(path, labels=(0, 2), **block) -> dict:
    found = maps_of(path, {"a_1": labels}, **block).read("a_1")
    assert not isinstance(found, str), found
    return found


def fault(path, labels=(0, 2), **block) -> str:
    found = maps_of(path, {"a_1": labels}, **block).read("a_1")
    assert isinstance(found, str) and "\n" not in found
    return found


def save(folder, name, content) -> Path:
    path = Path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, content, allow_pickle=True)
    elif path.suffix == ".npz":
        np.savez(path, **content if isinstance(content, dict) else {"arr_0": content})
    elif path.suffix == ".png":
        Image.fromarray(content).save(path)
    else:
        with h5py.File(path, "a") as file:
            for key, value in (content if isinstance(content, dict) else {"a_1": content}).items():
                file[key] = value
    return Path(folder)


TWO = soft(2, *STORED)
LAYOUTS = {
    "dictionary": ("a_1.npy", {0: TWO[0], 2: TWO[1]}),
    "irn": ("a_1.npy", {"keys": torch.tensor([0, 2]), "cam": torch.zeros(2, 1, 1), "high_res": TWO}),
    "strided maps of irn alone": ("a_1.npy", {"keys": np.array([0, 2]), "cam": torch.from_numpy(TWO)}),
    "names": ("a_1.npy", {"owl": TWO[1], "cat": TWO[0]}),
    "numbers as texts": ("a_1.npz", {"2": TWO[1], "0": TWO[0]}),
    "of the labels": ("a_1.npy", TWO),
    "of all classes": ("a_1.npy", np.stack([TWO[0], TWO[1] * 0, TWO[1]])),
    "packed": ("a_1.npz", TWO),
    "classes and scores": ("a_1.npz", {"classes": np.array([2, 0]), "scores": TWO[::-1]}),
    "a file of an image": ("a_1.h5", {"cat": TWO[0], "owl": TWO[1]}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, name):
    found = read(save(tmp_path, *LAYOUTS[name]))
    assert found["classes"].tolist() == [0, 2] and found["scores"].dtype == np.float16
    np.testing.assert_array_equal(found["scores"], TWO)


def test_one_file_of_hdf5(tmp_path):
    for name, content in {
        "groups": {"a_1/cat": TWO[0], "a_1/owl": TWO[1], "b/cat": TWO[0]},
        "arrays": {"a_1": TWO},
    }.items():
        save(tmp_path, f"{name}.h5", content)
        np.testing.assert_array_equal(read(tmp_path / f"{name}.h5")["scores"], TWO)
    assert maps_of(tmp_path / "groups.h5", {"a_1": (0,)}).told(["a_1"]).endswith("; 1 files or images in it not used")


def test_our_own_artifact_counts_its_classes_as_it_says(tmp_path):
    with create(tmp_path / "cam.h5", "cam", dataset="other", split="all", classes=("owl", "dog", "cat")) as made:
        made.put("a_1", classes=np.array([0, 2], np.int16), scores=TWO.astype(np.float16), background=TWO[0])
    np.testing.assert_array_equal(read(tmp_path / "cam.h5")["scores"], TWO[::-1])
    np.testing.assert_array_equal(read(tmp_path / "cam.h5", background=True)["background"], TWO[0])


@pytest.mark.parametrize("pattern", ["a_1_{}.png", "{}/a_1.png", "a_1/{}.png"])
@pytest.mark.parametrize("depth", [8, 16])
def test_heat_maps(tmp_path, pattern, depth):
    most = 2**depth - 1
    values = np.random.default_rng(0).integers(0, most + 1, (2, *STORED)).astype(f"u{depth // 8}")
    save(tmp_path, pattern.format("cat"), values[0])
    save(tmp_path, pattern.format("2"), values[1])  # by number
    np.testing.assert_array_equal(read(tmp_path)["scores"], (values.astype(np.float32) / most).astype(np.float16))


def test_a_name_that_fits_two_images_is_refused(tmp_path):
    save(tmp_path, "a_1_cat.png", np.zeros(STORED, np.uint8))
    row = {"a": (0,), "a_1": (0,)}
    assert maps_of(tmp_path, row).files.read("a_1", ["cat"])
    with pytest.raises(
        UserError, match="a_1_cat.png: may be '1_cat' of 'a' or 'cat' of 'a_1'; put the maps of a class into"
    ):
        maps_of(tmp_path, row, classes=("cat", "dog", "owl", "1_cat"))
    save(tmp_path, "cat/a.png", np.zeros(STORED, np.uint8))
    save(tmp_path, "a/cat.png", np.zeros(STORED, np.uint8))
    with pytest.raises(UserError, match="is of the same image; keep one of them"):
        maps_of(tmp_path, row)


def test_an_order_of_the_classes_of_their_own(tmp_path):
    """Other classes in it, and background, as PSA's posteriors have it."""
    order = ("background", "owl", "horse", "cat", "dog")
    found = read(save(tmp_path, "a_1.npy", {0: TWO[0] * 0, 1: TWO[1], 3: TWO[0]}), classes=order, background=True)
    np.testing.assert_array_equal(found["scores"], TWO)
    assert not found["background"].any()
    every = np.concatenate([np.zeros((1, *STORED)), TWO[1:], np.ones((1, *STORED)), TWO[:1], np.ones((1, *STORED))])
    np.testing.assert_array_equal(read(save(tmp_path, "a_1.npy", every), classes=order)["scores"], TWO)
    found = read(save(tmp_path, "a_1.npy", TWO[::-1]), classes=order)  # of the labels, in this order
    np.testing.assert_array_equal(found["scores"], TWO)


def test_sizes(tmp_path):
    """The image's size becomes the mean of each cell; cells as they are; others first the image's size."""
    whole = soft(1, *SIZE)
    columns = [slice(30 * cell // 8, -(-30 * (cell + 1) // 8)) for cell in range(8)]  # 8 cells of 30 pixels overlap
    cells = np.stack([whole[0, :, part].reshape(5, -1).mean(axis=1) for part in columns], axis=1)
    found = read(save(tmp_path, "a_1.npy", {0: whole[0]}), (0,))["scores"][0]
    assert found.shape == stored_size(*SIZE, 4) == STORED
    np.testing.assert_allclose(found, cells, atol=1e-3)
    np.testing.assert_array_equal(read(tmp_path, (0,), resolution=1)["scores"], whole.astype(np.float16))
    even = np.full((10, 15), 0.5, np.float32)
    np.testing.assert_array_equal(
        read(save(tmp_path, "a_1.npy", {0: even}), (0,))["scores"], np.full((1, *STORED), 0.5)
    )
    ramp = np.tile(np.linspace(0, 1, 14, dtype=np.float32), (14, 1))
    message = fault(save(tmp_path, "a_1.npy", {0: ramp}), (0,))
    assert "is 14 x 14, its image 20 x 30 (H x W)" in message and "`stretched: true`" in message
    found = read(tmp_path, (0,), stretched=True)["scores"][0].astype(float)
    assert (np.diff(found, axis=1) > 0).all() and np.ptp(found, axis=0).max() < 1e-3


def test_ranges(tmp_path):
    values = np.linspace(-1, 3, 40, dtype=np.float32).reshape(STORED)
    path = save(tmp_path, "a_1.npy", {0: values})
    assert "has values from -1; say `normalise: maximum`" in fault(path, (0,))
    np.testing.assert_allclose(read(path, (0,), normalise="maximum")["scores"][0], values.clip(0) / 3, atol=1e-3)
    np.testing.assert_allclose(read(path, (0,), normalise="min_max")["scores"][0], (values + 1) / 4, atol=1e-3)
    save(tmp_path, "a_1.npy", {0: values.clip(0) * 1e5})
    assert "above 65504; say `normalise: maximum`" in fault(path, (0,))
    np.testing.assert_allclose(read(path, (0,), normalise="maximum")["scores"][0], values.clip(0) / 3, atol=1e-3)
    save(tmp_path, "a_1.npy", {0: values.clip(-1e-4)})  # rounding
    assert read(path, (0,))["scores"].min() == 0
    save(tmp_path, "a_1.npy", {0: values * 0})
    assert not read(path, (0,), normalise="maximum")["scores"].any()


WRONG = {
    "not finite": ({0: np.full(STORED, np.nan)}, "has values that are not finite"),
    "infinite": ({0: np.full(STORED, np.inf)}, "has values that are not finite"),
    "empty": ({0: np.zeros((0, 8))}, "an empty map"),
    "flat": ({0: np.zeros(8)}, "not a map of numbers"),
    "absent": ({1: TWO[0]}, "no map of 'cat'; add it, or say `classes: [background, ...]` if 0 is the background there"),
    "absent, no background": ({2: TWO[0]}, "no map of 'cat'; add it, or say `missing: zero`"),
    "unknown": ({3: TWO[0]}, "class 3 is none of 0 to 2; if 0 is the background, say `classes: [background, ...]`"),
    "misspelt": ({"cats": TWO[0]}, "class 'cats' is unknown, the nearest known is 'cat'"),
    "too few": ({"keys": [0, 1], "high_res": TWO[:1]}, "'high_res' has not one map for each of the 2 keys"),
    "no maps": ({"keys": [0]}, "has 'keys' and neither 'high_res' nor 'cam'"),
    "two": (TWO, "holds 2 maps, expected 3, of all classes, or 1, of those that the image shows; if one is of the"),
    "four dimensions": (TWO[None], "holds an array of 4 dimensions"),
    "a list": (np.array([{0: 1}, 2], object), "holds list; save a dictionary"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused_of_an_image(tmp_path, name):
    content, message = WRONG[name]
    assert message in fault(save(tmp_path, "a_1.npy", content), (0,))


def test_colours_are_no_heat_map(tmp_path):
    save(tmp_path, "a_1_cat.png", np.zeros((*STORED, 3), np.uint8))
    assert "a_1_cat.png: not a gray PNG of 8 or 16 bits" in fault(tmp_path, (0,))
    (tmp_path / "a_1_cat.png").write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13))
    assert "a_1_cat.png: not a readable PNG" in fault(tmp_path, (0,))


def test_what_is_found_is_told(tmp_path):
    save(tmp_path, "a_1.npy", {0: TWO[0], 1: TWO[1], 2: np.zeros(SIZE)})
    save(tmp_path, "b.npy", {0: soft(10, 15)})
    save(tmp_path, "other.npy", {0: TWO[0]})
    row = {"a_1": (0, 2), "b": (0, 1), "c": (1,), "none": ()}
    maps = maps_of(tmp_path, row, missing="zero")
    for identifier in row:
        assert isinstance(maps.read(identifier), dict)
    assert maps.read("none")["scores"].shape == (0, *STORED)
    assert not maps.read("c")["scores"].any()
    told = maps.told(list(row))
    assert told.startswith(f"{tmp_path}: 3 maps of 6 images, values from 0 to 0.9")
    for part in (
        "; 1 of another size",
        "1 zero everywhere",
        "3 absent",
        "1 of classes that their image does not show, left out (most of dog)",
        "1 files",
    ):
        assert part in told


# The workflow


def with_theirs(**block) -> Plan:
    """Photographs with maps of other code, and all that is made of maps behind them."""
    over = {
        "cams": {"theirs": {"rule": "folder", "path": "theirs"} | block},
        "affinities": {"theirs": {"base": "base_affinity_net"}, "theirs_irn": {"base": "cam_irn", "cam": "theirs"}},
        "masks": {
            "theirs": {"rule": "constant", "threshold": 0.2},
            "theirs_crf": {"base": "cam_crf", "cam": "theirs"},
            "theirs_walk": {"base": "base_walk", "cam": "theirs", "affinity": "theirs"},
            "theirs_irn": {"base": "cam_irn", "cam": "theirs", "affinity": "theirs_irn"},
        },
        "systems": {
            "theirs": {"segmenter": "large_fov", "predictions": ["single"]},
            **{name: {"mask": name} for name in ("theirs_crf", "theirs_walk", "theirs_irn")},
        },
    }  # fmt: skip
    return plan_of(CSV, over=over, systems=["theirs", "theirs_crf", "theirs_walk", "theirs_irn"])


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_photographs()
    for number, identifier in enumerate(IDS[:6]):
        save("theirs", f"{identifier}.npy", {number % 2: soft(*SIZE, seed=number)})
    return tmp_path


def test_the_stage_stores_them(folder):
    plan = with_theirs()
    assert run(plan, "index") is None and run(plan, "cams", **THEIRS) is None
    made = Reader(MADE, "cam", "mine")
    assert made.ids == IDS[:6]
    for number, identifier in enumerate(made.ids):
        found = made.read(identifier)
        assert found["classes"].tolist() == [number % 2] and found["scores"].shape == (1, *STORED)


def test_all_faults_are_told_together(folder):
    plan = with_theirs()
    assert run(plan, "index") is None
    Path(f"theirs/{IDS[0]}.npy").unlink()
    save("theirs", f"{IDS[1]}.npy", {1: np.full(SIZE, np.nan)})
    save("theirs", f"{IDS[2]}.npy", {0: EVIL["posix.system"]})
    parts = [f"no maps of '{IDS[0]}', which shows cat; add {IDS[0]}.npy", "not finite", "'posix.system'"]
    stage_refused(plan, "cams", "3 faults", *parts, faults=3, **THEIRS)
    assert not Path("started").exists()
    stage_refused(with_theirs(path="nowhere"), "cams", "nowhere: no such folder or file of maps", **THEIRS)


def test_the_chain_of_a_system(folder):
    """No classifier is trained; everything that starts from maps follows."""
    plan = with_theirs()
    stages = {
        name: [stage for stage, _ in systems.chain(plan.config, "mine", name)] for name in ("theirs", "theirs_irn")
    }
    assert stages["theirs"] == ["cams", "masks", "train_segmenter", "predictions"]
    assert stages["theirs_irn"] == ["cams", "affinity_labels", "train_affinity", "masks"]
    every = {stage for stage, _ in plan.jobs("mine")}
    assert {"cams", "thresholds", "score_cams", "montage"} < every and not {
        "train_classifier",
        "classification",
    } & every
    assert [row["stage"] for row in systems.rows(plan.config, "mine", "theirs")] == ["cam", "mask", "segmentation"]
    needed = {
        (need.path, need.state) for need in doctor.needs_of_jobs(plan.config, [("cams", {"dataset": "mine", **THEIRS})])
    }
    assert needed == {("theirs", "present")}
    job = plan.job("cams", {"dataset": "mine", **THEIRS})
    assert job.inputs == {"index": "results/mine/index.h5", "images": [], "weights": []}
    assert job.modules == ("data.folder_maps",) and job.settings["block"]["resolution"] == 4


def test_settings_that_are_refused(raw):
    for block, message in (
        ({"path": "x", "scales": [1]}, "cams.theirs: unknown key 'scales'"),
        ({"path": "x", "rule": "foldr"}, "input should be 'folder', found 'foldr'"),
        ({}, "cams.theirs.path: missing"),
        ({"path": "x", "background": True, "normalise": "maximum"}, "set normalise: null"),
    ):
        put(raw, "cams.theirs", {"rule": "folder"} | block)
        refused(lambda: Config(raw), message)
    put(raw, "cams.theirs", {"rule": "folder", "path": "x"})
    put(raw, "masks.theirs", {"rule": "learnt"})
    refused(lambda: Config(raw), "masks.theirs.cam: 'theirs' keeps no background map; set background: true there")
    put(raw, "cams.theirs", {"rule": "folder", "path": "x", "background": True, "classes": ["cat"]})
    plan = Plan(Config(raw))
    refused(lambda: plan.job("cams", {"dataset": "demo", **THEIRS}), "cams.theirs.classes: lacks class")


def test_what_the_digest_sees(folder):
    """Contents of files of maps, one folder down, too; nothing else."""

    def digest(path: str = "theirs") -> str:
        return with_theirs(path=path).job("cams", {"dataset": "mine", **THEIRS}).settings["sources"]

    before = digest()
    Path("theirs/notes.txt").touch()
    os.utime(f"theirs/{IDS[0]}.npy", (1, 1))
    save("theirs/deeper/still", "a.png", np.zeros((2, 2), np.uint8))
    assert digest() == before
    save("theirs", f"{IDS[0]}.npy", {0: soft(*SIZE, seed=9)})
    edited = digest()
    save("theirs/cat", f"{IDS[0]}.png", np.zeros((2, 2), np.uint8))
    added = digest()
    save(".", "all.h5", {IDS[0]: TWO})
    assert len({before, edited, added, digest("all.h5")}) == 4


def test_one_changed_file_changes_what_is_below(tmp_path, monkeypatch):
    """The workflow itself: nothing but the maps and what is made of them runs."""
    monkeypatch.chdir(copy_sources(tmp_path / "tree"))
    write_photographs()
    for number, identifier in enumerate(IDS[:6]):
        save("theirs", f"{identifier}.npy", {number % 2: soft(*SIZE, seed=number)})
    change = {
        "cams": {"theirs": {"rule": "folder", "path": "theirs"}},
        "masks": {"theirs": {"rule": "constant", "threshold": 0.2}},
        "systems": {"theirs": {}, "boxes": {"mask": "boxes", "segmenter": None, "predictions": []}},
        "datasets": {"mine": COMMON | CSV | {"systems": ["theirs", "boxes"], "overrides": {}}},
    }
    Path("mine.yaml").write_text(yaml.safe_dump(change))
    target, configfiles = "results/mine/miou.csv", ["config.yaml", "mine.yaml"]
    done = snakemake(Path.cwd(), target, configfiles=configfiles)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "6 maps of 6 images" in Path("logs/mine/seed-0/cams/theirs.log").read_text()
    assert named(dry_run(Path.cwd(), target, configfiles=configfiles)) == set()
    save("theirs", f"{IDS[0]}.npy", {0: soft(*SIZE, seed=9)})
    found = named(dry_run(Path.cwd(), target, configfiles=configfiles))
    below = {"cams", "thresholds", "score_cams", "masks", "score_masks"}
    assert found == {*(f"{stage} theirs" for stage in below), "miou"}
