"""Training: killed and resumed it ends with the same bytes, batches are pure functions, frozen parts stay frozen."""

import copy
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from workflow_scripts import methods, segmentation
from workflow_scripts.artifacts import create
from workflow_scripts.data.index import Images, read_index, write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.data.samples import BatchSampler, ClassificationSamples, SegmentationSamples
from workflow_scripts.data.synthetic import CLASSES, render_scene
from workflow_scripts.data.weights import save_weights
from workflow_scripts.errors import UserError
from workflow_scripts.training import loop
from workflow_scripts.training.optimiser import build, parameter_groups

JITTER = {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1}
RECIPE = {
    "iterations": 8,
    "batch": 4,
    "crop": 48,
    "long_side": [40, 64],
    "jitter": JITTER,
    "optimiser": "sgd",
    "learning_rate": 0.01,
    "head_multiplier": 10,
    "bias_multiplier": 2,
    "momentum": 0.9,
    "weight_decay": 5.0e-4,
    "poly_power": 0.9,
    "poly_every": 1,
    "warm_up": 0,
    "precision": "float32",
    "save_every": 3,
}
EPS_OPTIONS = {
    "selection": "adaptive",
    "overlap_threshold": 0.4,
    "foreground_weight": 0.5,
    "saliency_weight": 1.0,
    "predefined_background": [],
}


def namespace(value):
    return json.loads(json.dumps(value), object_hook=lambda item: SimpleNamespace(**item))


def recipe(**changes) -> SimpleNamespace:
    return namespace(RECIPE | changes)


def classifier_block(method: str = "cam", **backbone) -> dict:
    options = {"dropout": 0.5} if method == "cam" else EPS_OPTIONS
    default = {"name": "tiny", "stride": 8, "batch_norm": "trained", "frozen_stages": 0}
    return {"method": method, "options": options, "backbone": default | backbone, "initial": "random"}


def classifier(method: str = "cam", **backbone) -> nn.Module:
    torch.manual_seed(0)
    return methods.build(namespace(classifier_block(method, **backbone)), CLASSES)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Folder with ten rendered images, their index, and their masks and saliency as a perfect detector would have it."""
    folder = tmp_path_factory.mktemp("data")
    about = {"dataset": "demo", "split": "all", "classes": CLASSES}
    entries = []
    with (
        create(folder / "images.h5", "images", **about) as images,
        create(folder / "saliency.h5", "saliency", **about) as saliency,
        create(folder / "masks.h5", "mask", **about) as masks,
    ):
        for number in range(10):
            scene, identifier = render_scene(0, "train", number), f"train_{number:06d}"
            images.put(identifier, image=scene.image)
            saliency.put(identifier, saliency=np.where(np.isin(scene.mask, [0, 255]), 0, 255).astype(np.uint8))
            masks.put(identifier, label=scene.mask)
            entries.append(Entry(identifier, "", *scene.mask.shape, "", scene.labels, scene.boxes.reshape(-1, 5)))
    write_index(folder / "index.h5", "demo", CLASSES, entries, {"train": [entry.id for entry in entries]})
    return folder


def samples_of(data: Path, saliency: bool = False, seed: int = 0, **changes) -> ClassificationSamples:
    index = read_index(data / "index.h5")
    images = Images(index, data / "images.h5")
    return ClassificationSamples(index, images, "train", recipe(**changes), seed, saliency and data / "saliency.h5")


def batch_of(samples: Dataset, *positions: int, epoch: int = 0) -> dict[str, torch.Tensor]:
    return torch.utils.data.default_collate([samples[epoch, position] for position in positions])


# --- batches ----------------------------------------------------------------------------------------------------------


def test_every_epoch_is_a_new_permutation_without_the_rest():
    batches = list(BatchSampler(count=11, batch=3, iterations=9, seed=0))
    assert len(batches) == 9 and all(len(batch) == 3 for batch in batches)
    epochs = [sum(batches[start : start + 3], []) for start in (0, 3, 6)]
    for number, epoch in enumerate(epochs):
        assert {drawn for drawn, _ in epoch} == {number}
        positions = [position for _, position in epoch]
        assert len(set(positions)) == 9 and set(positions) <= set(range(11))  # 2 of 11 are left over
    orders = [[position for _, position in epoch] for epoch in epochs]
    assert orders[0] != orders[1] != orders[2]


def test_resumed_batches_are_the_rest_of_the_batches():
    whole = list(BatchSampler(11, 3, 20, seed=4))
    for start in (0, 1, 3, 7, 19, 20):
        sampler = BatchSampler(11, 3, 20, seed=4, start=start)
        assert list(sampler) == whole[start:] and len(sampler) == 20 - start
    assert list(BatchSampler(11, 3, 5, seed=4)) == whole[:5]  # longer training begins the same
    assert list(BatchSampler(11, 3, 20, seed=5)) != whole


def test_fewer_images_than_a_batch_are_repeated():
    batches = list(BatchSampler(count=3, batch=7, iterations=2, seed=0))
    for number, batch in enumerate(batches):
        assert {epoch for epoch, _ in batch} == {number}
        counts = np.bincount([position for _, position in batch])
        assert counts.sum() == 7 and counts.min() >= 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_batch_does_not_depend_on_the_workers(data, workers):
    samples = samples_of(data, saliency=True)
    alone = [batch_of(samples, *[p for _, p in keys], epoch=keys[0][0]) for keys in BatchSampler(10, 4, 4, 0)]
    torch.rand(3)  # the state of the common generator does not matter
    np.random.seed(1)
    loader = DataLoader(
        samples, batch_sampler=BatchSampler(10, 4, 4, 0), num_workers=workers, multiprocessing_context="fork"
    )
    for found, expected in zip(loader, alone, strict=True):
        assert found.keys() == expected.keys() == {"image", "labels", "saliency"}
        for name, value in expected.items():
            assert torch.equal(found[name], value)


def test_a_sample_depends_on_seed_and_epoch(data):
    samples = samples_of(data)
    first = samples[0, 0]["image"]
    assert torch.equal(first, samples_of(data)[0, 0]["image"])
    assert not torch.equal(first, samples[1, 0]["image"])
    assert not torch.equal(first, samples_of(data, seed=1)[0, 0]["image"])


def test_saliency_is_transformed_with_its_image(data):
    """Without jitter, image and saliency resized and cropped alike: the padding of both is at the same place."""
    samples = samples_of(data, saliency=True, crop=96, long_side=[60, 60], jitter=dict.fromkeys(JITTER, 0))
    for position in range(4):
        sample = samples[0, position]
        assert sample["image"].shape == (3, 96, 96) and sample["saliency"].shape == (1, 96, 96)
        outside = (sample["image"] == 0).all(dim=0)
        assert outside.sum() >= 96 * 96 - 60 * 60
        assert (sample["saliency"][0][outside] == 0).all()
        assert 0 <= sample["saliency"].min() and sample["saliency"].max() <= 1


def test_segmentation_labels_are_padded_with_ignore(data):
    index = read_index(data / "index.h5")
    settings = recipe(crop=128, scales=[0.5])
    samples = SegmentationSamples(index, Images(index, data / "images.h5"), "train", settings, 0, data / "masks.h5")
    sample = samples[0, 0]
    assert sample["image"].shape == (3, 128, 128) and sample["label"].dtype == torch.int64
    outside = (sample["image"] == 0).all(dim=0)
    height, width = index.size_of(index.ids[0])
    assert outside.sum() >= 128 * 128 - height * width // 4 - height - width
    assert (sample["label"][outside] == 255).all()
    known = set(sample["label"].unique().tolist()) - {255}
    assert known <= {0, *(1 + int(c) for c in index.classes_of(index.ids[0]))} and 0 in known


# --- optimiser --------------------------------------------------------------------------------------------------------


def rates(groups: list[dict]) -> list[tuple[float, float]]:
    return [(round(group["lr"], 10), group["weight_decay"]) for group in groups]


def test_parameter_groups_have_the_published_rates():
    """PSA and EPS code: 1x with decay, 2x without, 10x with decay, 20x without."""
    block = {"network": "large_fov", "backbone": classifier_block()["backbone"], "hidden": 8, "dilation": 2}
    network = segmentation.build(namespace(block | {"dropout": 0.1, "align_corners": False}), 7)
    groups = parameter_groups(network, recipe())
    assert rates(groups) == [(0.01, 5e-4), (0.02, 0.0), (0.1, 5e-4), (0.2, 0.0)]
    assert [parameter.ndim for parameter in groups[2]["params"]] == [4, 4]  # context and head
    assert [parameter.ndim for parameter in groups[3]["params"]] == [1, 1]
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())


def test_frozen_parameters_are_in_no_group_and_empty_groups_are_left_out():
    network = classifier("cam", name="mobilenet_v2", stride=16, batch_norm="frozen", frozen_stages=3)
    groups = parameter_groups(network, recipe())
    assert rates(groups) == [(0.01, 5e-4), (0.1, 5e-4)]  # without batch normalisation there are no biases
    assert groups[1]["params"] == [network.head.weight]
    frozen = {id(parameter) for parameter in network.backbone.features[:3].parameters()}
    assert frozen.isdisjoint(id(parameter) for group in groups for parameter in group["params"])


@pytest.mark.parametrize("momentum", [0.9, 5e-4])
def test_sgd_has_the_momentum_of_the_recipe(momentum):
    optimiser, _ = build(classifier(), recipe(momentum=momentum))
    assert isinstance(optimiser, torch.optim.SGD)
    assert {group["momentum"] for group in optimiser.param_groups} == {momentum}
    adam, _ = build(classifier(), recipe(momentum=momentum, optimiser="adamw"))
    assert isinstance(adam, torch.optim.AdamW)
    assert {group["betas"] for group in adam.param_groups} == {(momentum, 0.999)}


def test_every_group_follows_the_polynomial():
    optimiser, schedule = build(classifier(), recipe(iterations=5))
    start = [group["lr"] for group in optimiser.param_groups]
    for step in range(5):
        factor = (1 - step / 5) ** 0.9
        assert [group["lr"] for group in optimiser.param_groups] == pytest.approx([rate * factor for rate in start])
        optimiser.step()
        schedule.step()


def test_warm_up_rises_to_the_polynomial_in_equal_steps():
    optimiser, schedule = build(classifier(), recipe(iterations=8, warm_up=3, poly_power=0))
    rates = []
    for _ in range(6):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01])


# --- one step ---------------------------------------------------------------------------------------------------------


def step(network: nn.Module, batch: dict[str, torch.Tensor], **changes) -> dict[str, torch.Tensor]:
    """One optimiser step; returns the state before."""
    before = copy.deepcopy(network.state_dict())
    optimiser, _ = build(network.train(), recipe(**changes))
    sum(network.losses(batch).values()).backward()
    optimiser.step()
    return before


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_frozen_parts_do_not_change(data, optimiser):
    network = classifier("cam", batch_norm="frozen", frozen_stages=1)
    before = step(network, batch_of(samples_of(data), 0, 1, 2, 3), optimiser=optimiser)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    frozen = {name for name in before if "norm" in name or "layers.0." in name}
    assert frozen and changed == set(before) - frozen
    trained = classifier("cam", batch_norm="trained", frozen_stages=0)
    before = step(trained, batch_of(samples_of(data), 0, 1, 2, 3), optimiser=optimiser)
    assert all(not torch.equal(value, before[name]) for name, value in trained.state_dict().items())


@pytest.mark.parametrize("weight, untouched", [(0.0, True), (1.0, False)])
def test_background_of_eps_learns_from_saliency_alone(data, weight, untouched):
    network = classifier("eps").train()
    network.options.saliency_weight = weight
    losses = network.losses(batch_of(samples_of(data, saliency=True), 0, 1, 2, 3))
    assert losses.keys() == {"classification", "saliency"} and (losses["saliency"] == 0) == untouched
    losses["classification"].backward(retain_graph=True)
    assert torch.count_nonzero(network.head.weight.grad[-1]) == 0
    assert all(torch.count_nonzero(row) for row in network.head.weight.grad[:-1])
    network.zero_grad()
    losses["saliency"].backward()
    assert (torch.count_nonzero(network.head.weight.grad[-1]) == 0) == untouched


@pytest.mark.parametrize("method, channels", [("cam", 6), ("eps", 7)])
def test_heads_have_no_bias_and_eps_one_channel_more(method, channels):
    network = classifier(method)
    assert network.head.weight.shape == (channels, 96, 1, 1) and network.head.bias is None
    images = torch.randn(2, 3, 32, 40)
    with torch.inference_mode():
        maps, background = network.eval().maps(images)
        assert network.class_logits(images).shape == (2, 6)
    assert maps.shape == (2, 6, 4, 5) and (maps >= 0).all()
    if method == "cam":
        assert background is None and not network.learns_background
    else:
        torch.testing.assert_close(maps.sum(dim=1) + background, torch.ones(2, 4, 5))


def test_pooled_maps_are_the_logits():
    """Pooling and the linear layer commute: a map before clipping has the class's logit as its mean."""
    network = classifier("cam").eval()
    images = torch.randn(2, 3, 32, 40)
    with torch.inference_mode():
        logits = network.head(network.backbone(images))
        torch.testing.assert_close(logits.mean(dim=(2, 3)), network.class_logits(images))
        torch.testing.assert_close(logits.relu(), network.maps(images)[0])


# --- the loop ---------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Ends a training run as a signal would: nothing of the loop catches it."""


def train(data: Path, folder: Path, network=None, fingerprint="one", killed_at=None, saliency=False, **changes) -> Path:
    """Train with a fixed initial state into `folder`; returns the weights' path."""
    folder.mkdir(exist_ok=True)
    network = network or classifier("eps" if saliency else "cam")
    torch.manual_seed(0)
    calls = []

    def losses(batch):
        calls.append(None)
        if len(calls) - 1 == killed_at:
            raise Killed
        return network.losses(batch)

    output = folder / "a.safetensors"
    loop.train(
        network, losses, samples_of(data, saliency, **changes), recipe(**changes),
        seed=0, fingerprint=fingerprint, output=str(output), curve=str(folder / "a.curve.csv"),
    )  # fmt: skip
    save_weights(network, output)
    assert sorted(path.name for path in folder.iterdir()) == ["a.curve.csv", "a.safetensors"]
    return output


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_resumed_training_ends_with_the_same_bytes(data, tmp_path, monkeypatch, capsys, optimiser, precision):
    """The network has dropout, batch normalisation and momentum: every kind of state must be kept."""
    monkeypatch.setattr(loop, "REPORT_EVERY", 2)  # a killed run is in the middle of a row of the curve
    settings = {"optimiser": optimiser, "precision": precision}
    train(data, tmp_path / "whole", **settings)
    with pytest.raises(Killed):
        train(data, tmp_path / "parts", killed_at=4, **settings)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["a.safetensors.state"]
    with pytest.raises(Killed):
        train(data, tmp_path / "parts", killed_at=4, **settings)  # killed again, after iteration 6
    train(data, tmp_path / "parts", **settings)
    assert "resumed at iteration 3" in (output := capsys.readouterr().out) and "resumed at iteration 6" in output
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_equal_training_gives_equal_bytes_and_another_seed_others(data, tmp_path):
    one, two = train(data, tmp_path / "one"), train(data, tmp_path / "two")
    assert one.read_bytes() == two.read_bytes()
    torch.manual_seed(1)
    network = methods.build(namespace(classifier_block()), CLASSES)
    assert train(data, tmp_path / "three", network).read_bytes() != one.read_bytes()


def test_state_of_another_job_is_ignored(data, tmp_path, capsys):
    whole = train(data, tmp_path / "whole")
    with pytest.raises(Killed):
        train(data, tmp_path / "parts", fingerprint="another", killed_at=4, learning_rate=0.5)
    parts = train(data, tmp_path / "parts", fingerprint="one")
    assert "other settings or code" in capsys.readouterr().out
    assert parts.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("content", [b"", b"no state", "half", "pickle"])
def test_an_unreadable_state_is_ignored(data, tmp_path, capsys, content):
    whole = train(data, tmp_path / "whole", iterations=4)
    with pytest.raises(Killed):
        train(data, tmp_path / "parts", iterations=4, killed_at=3)
    state = tmp_path / "parts" / "a.safetensors.state"
    if content == "half":
        content = state.read_bytes()[: state.stat().st_size // 2]
    if content == "pickle":
        torch.save({"fingerprint": "one", "iteration": 3, "network": nn.Linear(1, 1)}, state)
    else:
        state.write_bytes(content)
    parts = train(data, tmp_path / "parts", iterations=4)
    assert "cannot be read" in capsys.readouterr().out
    assert parts.read_bytes() == whole.read_bytes()


def test_the_curve_has_the_mean_losses_and_the_rate(data, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_EVERY", 3)
    train(data, tmp_path / "a", saliency=True)
    with open(tmp_path / "a" / "a.curve.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["iteration"] for row in rows] == ["3", "6", "8"]
    assert list(rows[0]) == ["iteration", "learning_rate", "classification", "saliency"]
    assert float(rows[0]["learning_rate"]) == pytest.approx(0.01 * (1 - 2 / 8) ** 0.9, rel=1e-5)
    assert 0.3 < float(rows[0]["classification"]) < 3  # a loss, not a sum of three


def test_training_lowers_the_loss(data, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_EVERY", 5)
    train(data, tmp_path / "a", iterations=30, optimiser="adamw", learning_rate=2e-3, head_multiplier=1)
    with open(tmp_path / "a" / "a.curve.csv", newline="") as file:
        losses = [float(row["classification"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_stay_float32(data, tmp_path, precision):
    network = classifier("eps")
    train(data, tmp_path / "a", network, saliency=True, iterations=2, precision=precision)
    assert {value.dtype for value in network.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_a_loss_that_is_not_finite_ends_in_one_line(data, tmp_path):
    with pytest.raises(UserError) as caught:
        train(data, tmp_path / "a", learning_rate=1e30, iterations=20, save_every=100)
    message = str(caught.value)
    assert "\n" not in message
    for fragment in ("a.safetensors", "loss is not finite at iteration", "lower learning_rate", "1e+30"):
        assert fragment in message
    assert list((tmp_path / "a").iterdir()) == []


def test_a_fault_in_an_image_ends_in_one_line(data, tmp_path):
    """It is found in the process that loads images, and must not arrive with a stack trace."""
    with create(tmp_path / "images.h5", "images", dataset="demo", split="all", classes=CLASSES):
        pass
    index = read_index(data / "index.h5")
    samples = ClassificationSamples(index, Images(index, tmp_path / "images.h5"), "train", recipe(), 0)
    network = classifier()
    with pytest.raises(UserError) as caught:
        loop.train(
            network, network.losses, samples, recipe(),
            seed=0, fingerprint="", output=str(tmp_path / "a"), curve=str(tmp_path / "b"),
        )  # fmt: skip
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'images.h5'}: has no image 'train_") and "\n" not in message


# --- the stage --------------------------------------------------------------------------------------------------------


def command(data: Path, folder: Path, **changes) -> list[str]:
    block = classifier_block() | {"recipe": RECIPE | {"iterations": 40, "save_every": 2} | changes}
    settings = {"dataset": "demo", "classes": CLASSES, "threads": 1, "block": block, "seed": 0, "split": "train"}
    return [
        sys.executable, "-m", "workflow_scripts.stages.train_classifier",
        "--settings", json.dumps(settings, sort_keys=True), "--code", "0",
        "--index", str(data / "index.h5"), "--images", str(data / "images.h5"), "--saliency", "",
        "--weights-to", str(folder / "a.safetensors"), "--curve-to", str(folder / "a.curve.csv"),
    ]  # fmt: skip


def test_a_killed_stage_resumes_and_ends_with_the_same_bytes(data, tmp_path):
    finished = subprocess.run(command(data, tmp_path / "whole"), capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    state = tmp_path / "parts" / "a.safetensors.state"
    process = subprocess.Popen(command(data, tmp_path / "parts"), stdout=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not state.exists():
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert not (tmp_path / "parts" / "a.safetensors").exists()
    resumed = subprocess.run(command(data, tmp_path / "parts"), capture_output=True, text=True)
    assert resumed.returncode == 0 and "resumed at iteration" in resumed.stdout, resumed.stderr
    for name in ("a.safetensors", "a.curve.csv"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not state.exists()


def test_a_stage_whose_loss_is_not_finite(data, tmp_path):
    result = subprocess.run(command(data, tmp_path / "a", learning_rate=1e30), capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1 and "not finite" in result.stderr
    assert not (tmp_path / "a" / "a.safetensors").exists() and not (tmp_path / "a" / "a.curve.csv").exists()
