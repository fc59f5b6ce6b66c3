"""Saliency detectors: hand-made ones on paper, what networks learn from, libraries that may be missing, and a run of each kind."""

import builtins
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import put, refused
from onnx import TensorProto, helper
from own_photographs import IDS, VOC, plan_of, write_photographs
from PIL import Image
from test_stages import refused as stage_refused
from test_stages import run
from training_set import namespace

from workflow_scripts.config.resolve import Config
from workflow_scripts.data.index import read_index
from workflow_scripts.data.otsu import otsu
from workflow_scripts.data.samples.salient_folder import Folder
from workflow_scripts.data.samples.salient_input import squared
from workflow_scripts.data.samples.salient_rendered import Rendered
from workflow_scripts.data.samples.salient_samples import SalientSamples
from workflow_scripts.detectors import hand_made
from workflow_scripts.detectors import rembg as rembg_detector
from workflow_scripts.store.artifacts import Reader

OPENCV = {"spectral_residual", "fine_grained"}
OWN = sorted(hand_made.METHODS.keys() - OPENCV)


def disc(
    height=60, width=80, radius=14, object_colour=(200, 40, 30), ground=(60, 110, 60)
) -> tuple[np.ndarray, np.ndarray]:
    """A disc off the middle of a slightly noisy ground, and its mask."""
    rows, columns = np.mgrid[:height, :width]
    mask = (rows - 28) ** 2 + (columns - 35) ** 2 <= radius**2
    image = np.where(mask[..., None], object_colour, ground) + np.random.RandomState(0).randint(
        -6, 7, (height, width, 3)
    )
    return np.clip(image, 0, 255).astype(np.uint8), mask


# --- hand-made --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", hand_made.METHODS)
def test_an_image_of_one_colour_has_nothing_salient(method):
    block = namespace({"methods": [method], "side": 60, "centred": True})
    for colour in ((0, 0, 0), (255, 255, 255), (12, 200, 90)):
        image = np.full((40, 50, 3), colour, np.uint8)
        assert hand_made.METHODS[method](image).max() < hand_made.FLAT
        saliency = hand_made.load(block)(image)
        assert saliency.dtype == np.uint8 and saliency.shape == (40, 50) and not saliency.any()


@pytest.mark.parametrize("method", hand_made.METHODS)
def test_a_hand_made_map_is_a_function_of_its_image(method):
    image, _ = disc()
    detect = hand_made.load(namespace({"methods": [method], "side": 80, "centred": False}))
    first, before = detect(image), image.copy()
    assert np.array_equal(first, detect(image)) and np.array_equal(image, before)
    assert first.max() == 255 and first.min() == 0


@pytest.mark.parametrize("method", OWN)
def test_a_disc_stands_out_from_its_ground(method):
    image, mask = disc()
    saliency = hand_made.stretched(hand_made.METHODS[method](image))
    assert saliency[mask].mean() > 0.6 > 0.25 > saliency[~mask].mean()
    mirrored = hand_made.stretched(hand_made.METHODS[method](image[:, ::-1]))[:, ::-1]
    assert np.abs(saliency - mirrored).mean() < 0.05


def test_the_barrier_of_an_enclosed_region_is_its_contrast():
    """A path into the disc must cross its edge; a ramp that rises from the border to the middle has no barrier but its height."""
    values = np.zeros((9, 9))
    values[3:6, 3:6] = 5
    values[4, 4] = 2  # lower inside: the path's greatest value stays 5
    distance = hand_made._barrier(values)
    assert (distance[3:6, 3:6] == 5).all() and distance.sum() == 45
    assert (
        hand_made._barrier(np.tile(np.arange(9.0), (9, 1))).max() == 0
    )  # every column reaches the border along itself


def test_what_touches_the_border_widely_is_background():
    image, mask = disc()
    image[:, 60:] = (30, 60, 200)  # another region, as different in colour, along three borders
    saliency = hand_made.stretched(hand_made.robust_background(image))
    assert saliency[mask].mean() > 0.6 > 0.3 > saliency[:, 62:].mean()


def test_lab_of_known_colours():
    colours = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 0, 255]]], np.uint8)
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(hand_made.lab(colours)[0], expected, atol=0.05)


def test_fusion_is_the_mean_of_what_is_stretched():
    one, other, flat = np.array([[0.0, 10.0]]), np.array([[3.0, 1.0]]), np.full((1, 2), 7.0)
    assert hand_made.fused([one]).tolist() == [[0, 1]]
    assert hand_made.fused([one, one, other]).tolist() == [[0, 1]]
    assert not hand_made.fused([one, other]).any()  # they say the opposite
    assert hand_made.fused([one, flat]).tolist() == [[0, 1]] and not hand_made.fused([flat]).any()


def test_otsu_parts_two_groups_and_centring_puts_it_at_half():
    values = np.array([10, 12, 14, 60, 62, 64], np.uint8).repeat(5)
    assert 14 <= otsu(values) < 60
    assert otsu(np.full(9, 33, np.uint8)) == 33
    centred = hand_made.centred(np.concatenate([values, np.array([0, 255], np.uint8)]))
    assert (centred[:15] <= 127).all() and (np.diff(centred[:-2].astype(int)) >= 0).all()
    wide = hand_made.centred(values)
    assert ((wide > 127) == (values > 20)).all()
    assert not hand_made.centred(np.zeros((3, 3), np.uint8)).any()


# --- libraries of their own -------------------------------------------------------------------------------------------


@pytest.fixture
def without(monkeypatch):
    """Take a library away."""

    def remove(*names: str) -> None:
        whole = builtins.__import__

        def imported(name, *rest, **more):
            if name.partition(".")[0] in names:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            return whole(name, *rest, **more)

        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(builtins, "__import__", imported)

    return remove


def test_a_missing_library_is_one_line_that_says_how_to_install_it(without):
    without("rembg", "onnxruntime", "cv2")
    block = namespace({"model": "u2net", "models": None})
    refused(lambda: rembg_detector.load(block), "rembg", "pip install -r requirements.txt")
    image, _ = disc()
    for method in OPENCV:
        refused(lambda method=method: hand_made.METHODS[method](image), "OpenCV", "pip install -r requirements.txt")


def test_a_folder_of_models_without_the_model(tmp_path):
    block = namespace({"model": "u2netp", "models": str(tmp_path)})
    refused(lambda: rembg_detector.load(block), tmp_path / "u2netp.onnx", "models")


def write_model(path: Path, size: int = 320) -> None:
    """A made-up model of U2-Net's interface: the mean of the normalised colours."""
    shape = [1, 3, size, size]
    node = helper.make_node("ReduceMean", ["image"], ["map"], keepdims=1, axes=[1])
    graph = helper.make_graph(
        [node],
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 1, size, size])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))


def test_a_model_of_rembg(tmp_path, monkeypatch):
    """Nothing of it is told to others: the library would keep what it sends in the user's folder."""
    monkeypatch.setenv("U2NET_HOME", "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CI", raising=False)
    (tmp_path / "home").mkdir()
    write_model(tmp_path / "u2netp.onnx")
    block = namespace({"model": "u2netp", "models": str(tmp_path)})
    detect = rembg_detector.load(block)
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:30, 20:40] = 250
    saliency = detect(image)
    assert saliency.shape == (40, 60) and saliency.dtype == np.uint8
    assert saliency[15:25, 25:35].min() > 200 and saliency[:5].max() < 50  # rembg resizes by Lanczos, which rings
    assert np.array_equal(saliency, detect(image))
    assert not list((tmp_path / "home").rglob("*onnxruntime*"))
    (tmp_path / "u2net.onnx").write_bytes(b"no model")
    broken = namespace({"model": "u2net", "models": str(tmp_path)})
    refused(lambda: rembg_detector.load(broken), "'u2net'", "cannot be had", "models")


# --- what networks learn from -----------------------------------------------------------------------------------------


def write_duts(folder: Path, count: int = 4) -> tuple[Path, Path]:
    images, masks = folder / "images", folder / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    for number in range(count):
        image, mask = disc(50 + 4 * number, 80, 10 + number)
        Image.fromarray(image).save(images / f"n{number}.jpg")
        Image.fromarray(mask * np.uint8(255)).save(masks / f"n{number}.png")
    return images, masks


def test_a_folder_is_read_in_pairs(tmp_path):
    images, masks = write_duts(tmp_path)
    source = Folder(str(images), str(masks))
    assert source.names == ["n0", "n1", "n2", "n3"]
    image, mask = source.read(1)
    assert image.shape == (54, 80, 3) and mask.shape == (54, 80) and set(np.unique(mask)) == {0, 255}


def test_all_faults_of_a_folder_are_told_together(tmp_path):
    images, masks = write_duts(tmp_path, 7)
    (masks / "n0.png").unlink()
    (images / "n1.jpg").unlink()
    Image.new("L", (5, 5), 255).save(masks / "n2.png")
    (images / "n3.jpg").write_bytes((images / "n3.jpg").read_bytes()[:300])
    Image.fromarray(np.eye(66, 80, dtype=np.uint8)).save(masks / "n4.png")
    Image.open(images / "n5.jpg").save(images / "n5.png")
    with pytest.raises(Exception) as caught:
        Folder(str(images), str(masks))
    header, *lines = str(caught.value).split("\n")
    assert header == f"{images} and {masks}: 6 faults"
    for name, fragment in (
        ("n0.jpg", "no mask"), ("n1.png", "no photograph"), ("n2.png", "5 x 5, its photograph 58 x 80"),
        ("n3.jpg", "truncated"), ("n4.png", "greatest value 1"), ("n5.png", "same name"),
    ):  # fmt: skip
        assert [line for line in lines if name in line and fragment in line], (name, lines)
    with pytest.raises(Exception, match="2 faults"):
        Folder(str(tmp_path / "nowhere"), str(tmp_path / "neither"))


def recipe(**changes):
    return namespace({"crop": 0, "rotation": 0, "contrast": 0, "light": 0} | changes)


def test_samples_without_augmentation_are_the_pictures_or_their_mirror_images():
    source = Rendered(4, seed=0)
    samples = SalientSamples(source, namespace({"side": None, "padding": "mean"}), recipe(), seed=0)
    mirrored = set()
    for epoch in range(6):
        for position in range(4):
            sample, mask = samples[epoch, position], source.read(position)[1] / 255
            found = sample["mask"][0].numpy()
            assert np.array_equal(found, mask) or np.array_equal(found, mask[:, ::-1])
            mirrored.add(np.array_equal(found, mask))
            assert set(np.unique(found)) <= {0, 1} and sample["valid"].all()
            assert torch.equal(sample["image"], samples[epoch, position]["image"])
    assert mirrored == {True, False}


@pytest.mark.parametrize("change", [{"crop": 0.3}, {"rotation": 25}, {"contrast": 0.5}, {"light": 20}])
def test_each_augmentation_does_what_it_says(change):
    source, form = Rendered(6, seed=1), namespace({"side": 64, "padding": "black"})
    plain, changed = (SalientSamples(source, form, recipe(**one), seed=0) for one in ({}, change))
    pairs = [(plain[epoch, 2], changed[epoch, 2]) for epoch in range(6)]
    assert all(other["image"].shape == (3, 64, 64) and other["mask"].shape == (1, 64, 64) for _, other in pairs)
    assert any(not torch.equal(one["image"], other["image"]) for one, other in pairs)
    moved = any(not torch.equal(one["mask"], other["mask"]) for one, other in pairs)
    assert moved == bool({"crop", "rotation"} & change.keys())


def test_a_square_holds_the_whole_image_in_its_middle():
    image = np.full((20, 40, 3), 200, np.uint8)
    square = squared(image, 40, "black")
    assert square.place == (slice(10, 30), slice(0, 40))
    assert (square.image[square.place] == 200).all() and (square.image[:10] == 0).all()
    assert tuple(squared(image, 40, "mean").image[0, 0]) == (124, 116, 104)
    assert squared(image, 10, "black").image.shape == (10, 10, 3)


# --- a run of each kind -----------------------------------------------------------------------------------------------

RECIPE = {"iterations": 2, "batch": 2, "save_every": 1}
TINY = {"name": "tiny", "stride": 8, "batch_norm": "frozen", "frozen_stages": 0}
PYRAMID = {"network": {"backbone": TINY, "width": 8}, "initial": "random", "input": {"side": 32}, "recipe": RECIPE}
OVERRIDES = {
    "saliency": {
        "supplied": {"path": "Saliency"},
        "hand_made_crf": {"crf": {"iterations": 1}},
        "distilled_once": PYRAMID,
        "distilled": PYRAMID,
        "pfan": {
            "initial": "random", "input": {"side": 32}, "recipe": RECIPE | {"drop_at": [1]},
            "data": {"images": "duts/images", "masks": "duts/masks"},
        },
    }
}  # fmt: skip


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_photographs()
    write_duts(tmp_path / "duts")
    plan = plan_of(VOC, overrides=OVERRIDES)
    assert run(plan, "index") is None
    return plan


def maps(name: str) -> dict[str, np.ndarray]:
    """The artifact's maps, each as large as its image."""
    index, reader = read_index("results/mine/index.h5"), Reader(f"results/mine/saliency/{name}.h5", "saliency", "mine")
    found = {identifier: reader.read(identifier)["saliency"] for identifier in IDS}
    assert all(array.dtype == np.uint8 and array.shape == index.size_of(id_) for id_, array in found.items())
    return found


def test_without_labels_from_hand_made_maps_to_the_second_round(plan):
    for name in ("hand_made_crf", "distilled_once", "distilled"):
        if name.startswith("distilled"):
            assert run(plan, "train_saliency", saliency=name) is None
        assert run(plan, "saliency", saliency=name) is None
        assert len({array.tobytes() for array in maps(name).values()}) > 1
    sidecar = json.loads(Path("results/mine/saliency/distilled.safetensors.json").read_text())
    assert set(sidecar["parents"]) == {
        "results/mine/index.h5", "results/mine/saliency/hand_made_crf.h5", "results/mine/saliency/distilled_once.h5"
    }  # fmt: skip
    assert run(plan, "truth") is None and run(plan, "score_saliency", saliency="distilled") is None
    scores = json.loads(Path("results/mine/scores/saliency/distilled.json").read_text())["splits"]["rest"]
    assert scores.keys() == {"images", "foreground_iou", "mean_absolute_error", "max_f_measure", "adaptive_f_measure"}


def test_a_network_from_a_folder_and_its_weights_as_published_ones(plan):
    assert run(plan, "train_saliency", saliency="pfan") is None
    assert run(plan, "saliency", saliency="pfan") is None
    weights = "results/mine/saliency/pfan.safetensors"
    published = plan_of(
        VOC, overrides=OVERRIDES | {"saliency": {"pfan_published": {"weights": weights, "input": {"side": 32}}}}
    )
    assert run(published, "saliency", saliency="pfan_published") is None
    trained, loaded = maps("pfan"), maps("pfan_published")
    assert all(np.array_equal(trained[name], loaded[name]) for name in IDS)


def test_workers_change_nothing(plan):
    assert run(plan, "saliency", saliency="robust_background") is None
    alone = Path("results/mine/saliency/robust_background.h5").read_bytes()
    module, before = "workflow_scripts.stages.saliency", sys.argv
    from test_stages import arguments

    sys.argv = [module, *arguments(plan, "saliency", saliency="robust_background"), "--workers", "2"]
    try:
        import runpy

        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sys.argv = before
    assert Path("results/mine/saliency/robust_background.h5").read_bytes() == alone


def test_faults_of_a_training_folder_end_the_training(plan):
    Path("duts/masks/n1.png").unlink()
    stage_refused(plan, "train_saliency", "1 fault", "n1.jpg", "no mask", saliency="pfan", faults=1)


def test_a_replaced_training_file_makes_the_network_stale(plan, monkeypatch):
    names = {"dataset": "mine", "saliency": "pfan"}
    before = plan.settings("train_saliency", names)
    touched = Path("duts/masks/n1.png")
    content = touched.read_bytes()
    touched.write_bytes(content)
    assert plan_of(VOC, overrides=OVERRIDES).settings("train_saliency", names) == before
    Image.new("L", (80, 54), 255).save(touched)
    assert plan_of(VOC, overrides=OVERRIDES).settings("train_saliency", names) != before


def test_what_only_training_depends_on_leaves_the_maps_alone(plan):
    names = {"dataset": "mine", "saliency": "distilled"}
    changed = {"saliency": OVERRIDES["saliency"] | {"distilled": PYRAMID | {"seed": 7, "binary": False}}}
    other = plan_of(VOC, overrides=changed)
    assert other.settings("saliency", names) == plan.settings("saliency", names)
    assert other.settings("train_saliency", names) != plan.settings("train_saliency", names)


@pytest.mark.parametrize(
    ("key", "value", "fragments"),
    [
        ("saliency.distilled.maps", ["nowhere"], ["saliency.distilled.maps", "'nowhere'"]),
        ("saliency.distilled_once.maps", ["distilled"], ["circle", "distilled_once -> distilled -> distilled_once"]),
        ("saliency.hand_made.methods", [], ["saliency.hand_made.methods"]),
        ("saliency.hand_made.methods", ["minimal_barrier"], ["saliency.hand_made.methods"]),
        ("saliency.pfan.input.side", 250, ["saliency.pfan", "multiple of 16", "250"]),
        ("saliency.dss.input.side", None, ["saliency.dss", "input.side"]),
        ("saliency.rendered.initial", "imagenet", ["saliency.rendered", "initial: random"]),
        ("saliency.pfan.recipe.head_multiplier", None, ["saliency.pfan", "head_multiplier"]),
        ("saliency.u2net.model", "u3net", ["saliency.u2net.model"]),
    ],
)
def test_a_block_that_cannot_be(raw, key, value, fragments):
    refused(lambda: Config(put(raw, key, value)), *fragments)
