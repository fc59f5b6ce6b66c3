"""Accumulation, precisions, compilation, the memory estimate, and colours finished on the device: all learn the same."""

import shutil

import pytest
import torch
from conftest import put, refused
from test_training_loop import Killed, files, train
from torch import nn
from torch.nn.functional import conv2d
from torch.utils.data import default_collate
from training_set import batch_of, classifier, namespace, recipe, samples_of

from workflow_scripts import segmentation
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.index import Images, read_index
from workflow_scripts.data.samples.affinity_net_samples import Samples as AffinitySamples
from workflow_scripts.data.samples.canvas import finish
from workflow_scripts.data.samples.segmentation_samples import SegmentationSamples
from workflow_scripts.refine import affinity_networks
from workflow_scripts.training import device, loop, memory
from workflow_scripts.training.feed import batches
from workflow_scripts.training.step import Step, parts_of

CPU = torch.device("cpu")
FROZEN = {"name": "tiny", "stride": 8, "batch_norm": "frozen", "frozen_stages": 0}
LARGE_FOV = {
    "network": "large_fov",
    "backbone": FROZEN,
    "hidden": 8,
    "dilation": 2,
    "dropout": 0,
    "align_corners": False,
}
LARGE_FOV |= {"score_kernel": 1}
ASPP = {"network": "aspp", "backbone": FROZEN, "hidden": None, "dropout": 0, "dilations": [1, 2], "image_scales": [0.5]}
ASPP |= {"align_corners": False, "loss_at": "logits"}
PAIRS = {"backbone": FROZEN, "radius": 3, "border": "padded"}


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    found = {"eps": classifier("eps", batch_norm="frozen")}
    for place in ("labels", "logits"):
        found[f"large_fov {place}"] = segmentation.build(namespace(LARGE_FOV | {"loss_at": place}), 7)
    found["aspp"] = segmentation.build(namespace(ASPP), 7)
    affinity_net = PAIRS | {"network": "affinity_net", "head": 448, "group_norm": True, "distance": "mean"}
    found["affinity_net"] = affinity_networks.build(namespace(affinity_net))
    found["irn"] = affinity_networks.build(namespace(PAIRS | {"network": "irn"}))
    return found


def batch_for(name: str, images: int = 6) -> dict[str, torch.Tensor]:
    """A batch whose images have very unequal numbers of labelled pixels and of pairs."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(images, 3, 48, 48, generator=generator)
    if name == "eps":
        labels = torch.randint(0, 2, (images, 6), generator=generator).float()
        return {"image": image, "labels": labels, "saliency": torch.rand(images, 1, 48, 48, generator=generator)}
    side = 6 if name == "affinity_net" else 48
    label = torch.randint(0, 7, (images, side, side), generator=generator)
    for number in range(images):
        label[number, : side * number // images] = 255
    return {"image": image, "label": label.byte() if name == "affinity_net" else label}


def gradients(network: nn.Module, data: dict, **changes) -> dict[str, torch.Tensor]:
    """Of one step, with its losses."""
    torch.manual_seed(0)
    losses = Step(network, recipe(learning_rate=1e-12, **changes), CPU)(data)
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None} | losses


# --- accumulation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["eps", "large_fov labels", "large_fov logits", "aspp", "affinity_net", "irn"])
def test_accumulated_gradients_are_those_of_the_batch(name):
    network, batch = networks()[name], batch_for(name)
    whole = gradients(network, batch, batch=6)
    assert len(whole) > 4
    for count in (2, 6):
        parts = gradients(network, batch, batch=6, accumulate=count)
        assert parts.keys() == whole.keys()
        for key, value in whole.items():
            scale = value.abs().max().item()
            torch.testing.assert_close(
                parts[key], value, rtol=1e-3, atol=1e-4 * scale, msg=lambda m, k=key: f"{k}: {m}"
            )


@pytest.mark.parametrize("name", ["large_fov labels", "affinity_net"])
def test_the_mean_of_the_parts_own_losses_is_another(name):
    """What the count of the whole batch is for."""
    network, batch = networks()[name], batch_for(name)
    whole = gradients(network, batch, batch=6)
    network.zero_grad()
    for part in parts_of(batch, 6):
        del part["whole_label"]
        (sum(network.losses(part).values()) / 6).backward()
    weight = "head.weight" if "head.weight" in whole else "mix.weight"
    found = dict(network.named_parameters())[weight].grad
    assert (found - whole[weight]).norm() > 0.05 * whole[weight].norm()


def test_a_batch_that_has_no_equal_parts_is_refused(raw):
    put(raw, "classifiers.cam.recipe.accumulate", 3)
    refused(lambda: Config(raw), "classifiers.cam.recipe", "accumulate 3 does not divide batch")


def test_resumed_accumulation_ends_with_the_same_bytes(rendered, tmp_path):
    settings = {"accumulate": 2, "iterations": 5}
    train(rendered, tmp_path / "whole", **settings)
    with pytest.raises(Killed):
        train(rendered, tmp_path / "parts", killed_at=4, **settings)
    train(rendered, tmp_path / "parts", **settings)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


# --- precision --------------------------------------------------------------------------------------------------------


def test_float16_is_refused_on_a_cpu(rendered, tmp_path):
    refused(lambda: train(rendered, tmp_path / "a", precision="float16"), "float16", "GPU", "bfloat16")
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_low_precision_learns_what_float32_does(precision):
    """float16 runs on a CPU too, only slowly: its loss scale is tried here."""
    network, batch = networks()["eps"], batch_for("eps")
    exact, found = gradients(network, batch), gradients(network, batch, precision=precision)
    for name in ("head.weight", "backbone.layers.3.second.weight", "classification", "saliency"):
        error = (found[name] - exact[name]).norm() / exact[name].norm()
        assert 0 < error < (0.05 if precision == "bfloat16" else 0.01), name
        assert found[name].dtype == torch.float32


def test_the_loss_scale_is_part_of_the_state():
    network, batch = networks()["eps"], batch_for("eps")
    step = Step(network, recipe(precision="float16"), CPU)
    step(batch)
    step.scaler.update(128.0)
    other = Step(networks()["eps"], recipe(precision="float16"), CPU)
    other.load_state_dict(step.state_dict())
    assert other.scaler.get_scale() == 128.0
    assert Step(network, recipe(), CPU).state_dict()["scaler"] == {}


def test_a_step_whose_gradients_overflow_changes_nothing_but_the_scale():
    network, batch = networks()["eps"], batch_for("eps")
    step = Step(network, recipe(precision="float16"), CPU)
    step(batch)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    step.scaler.update(2.0**100)
    step(batch)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert step.scaler.get_scale() == 2.0**99


@pytest.mark.parametrize(("known", "told"), [({}, True), ({"avx512_bf16": True}, False), ({"bf16": True}, False)])
def test_emulated_bfloat16_is_told(monkeypatch, capsys, known, told):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    device.check_precision(CPU, "bfloat16")
    assert ("emulates" in capsys.readouterr().out) == told
    device.check_precision(CPU, "float32")
    assert capsys.readouterr().out == ""


# --- compilation ------------------------------------------------------------------------------------------------------


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)

    def new_parameters(self) -> list[nn.Parameter]:
        return []

    def losses(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        features = self.first(batch["image"]).relu() * 0.5
        return {"square": self.second(features).float().square().mean()}


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of the compiler's own
def test_a_compiled_network_learns_the_same_under_the_same_names():
    torch.manual_seed(0)
    network, batch = Small(), {"image": torch.randn(2, 3, 8, 8)}
    names = list(network.state_dict())
    plain, compiled = (gradients(network, batch, compile=value) for value in (False, True))
    assert list(network.state_dict()) == names and plain.keys() == compiled.keys()
    for name, value in plain.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-4, atol=1e-5)


def test_compilation_without_a_compiler_is_refused(rendered, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    refused(lambda: train(rendered, tmp_path / "a", compile=True), "compile: true", "C++ compiler")


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_estimate_is_what_a_step_keeps(precision):
    network, batch = networks()["large_fov labels"], batch_for("large_fov labels", images=8)
    step = Step(network, recipe(batch=8, precision=precision), CPU)
    found = memory.estimate(step, batch)
    kept = [*network.parameters(), *network.buffers(), *batch.values()]
    with device.autocast(CPU, precision):
        measured = memory.saved_bytes(lambda: network.losses(batch), kept)
    assert found.activations == pytest.approx(measured, rel=0.05)
    parameters = sum(4 * p.numel() for p in network.parameters())
    trained = sum(4 * p.numel() for p in network.parameters() if p.requires_grad)
    assert parameters < found.weights < 1.1 * parameters  # and statistics of batch normalisation
    assert found.gradients == found.optimiser == trained
    assert found.total == found.weights + 2 * trained + found.activations + found.batch


def test_saved_bytes_of_a_convolution():
    """Its input and weight are kept, and the mask of a ReLU is its result: closed form."""
    image, weight = torch.randn(2, 3, 8, 8), nn.Parameter(torch.randn(4, 3, 3, 3))
    assert memory.saved_bytes(lambda: conv2d(image, weight).relu(), []) == 4 * (2 * 3 * 64 + 4 * 27 + 2 * 4 * 36)
    assert memory.saved_bytes(lambda: conv2d(image, weight).relu(), [weight]) == 4 * (2 * 3 * 64 + 2 * 4 * 36)


def test_parts_need_the_activations_of_one_of_them():
    network, batch = networks()["eps"], batch_for("eps", images=16)
    whole = memory.estimate(Step(network, recipe(batch=16), CPU), batch)
    parts = memory.estimate(Step(network, recipe(batch=16, accumulate=4), CPU), batch)
    assert parts.activations == pytest.approx(whole.activations / 4, rel=0.02)
    assert (parts.weights, parts.batch) == (whole.weights, whole.batch)


def test_an_estimate_changes_neither_statistics_nor_the_random_state():
    network, batch = classifier("cam"), batch_for("eps")  # trained batch normalisation, dropout
    step = Step(network, recipe(), CPU)
    before, state = {name: value.clone() for name, value in network.state_dict().items()}, torch.get_rng_state()
    memory.estimate(step, batch)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_too_little_memory_is_told_with_the_settings_that_need_less(monkeypatch, capsys):
    found = memory.Estimate(weights=2**30, gradients=2**30, optimiser=0, activations=2**32, batch=2**20)
    monkeypatch.setattr(memory, "free_memory", lambda where: 2**32)
    memory.announce(found, recipe(batch=8, accumulate=2), CPU)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("memory: about 6.0 GiB on the cpu (weights 1.0 GiB,") and "4.0 GiB free" in lines[0]
    assert len(lines) == 2 and all(
        word in lines[1] for word in ("accumulate (now 2 of batch 8)", "crop (now 48)", "precision: bfloat16")
    )
    monkeypatch.setattr(memory, "free_memory", lambda where: 2**33)
    memory.announce(found, recipe(), CPU)
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_full_gpu_ends_in_one_line(rendered, tmp_path, monkeypatch):
    def full(self, batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop.Step, "__call__", full)
    refused(lambda: train_plainly(rendered, tmp_path), "a.safetensors", "memory is too small", "a larger accumulate")


def train_plainly(data, folder) -> None:
    loop.train(
        classifier(), samples_of(data), recipe(),
        seed=0, fingerprint="", output=str(folder / "a.safetensors"), curve=str(folder / "a.csv"),
    )  # fmt: skip


# --- colours finished on the device -----------------------------------------------------------------------------------


def finished(samples, *positions: int, **kind) -> dict[str, torch.Tensor]:
    return finish(batch_of(samples, *positions), CPU)


def test_the_device_finishes_what_a_worker_would(rendered):
    """The same geometry; the colours but for the rounding of Pillow after every step."""
    settings = {"crop": 80, "long_side": [60, 70]}  # the image is smaller than the crop: contrast sees it whole
    worker, on_device = (
        finished(samples_of(rendered, saliency=True, augment=place, **settings), *range(6))
        for place in ("worker", "device")
    )
    assert worker.keys() == on_device.keys() == {"image", "labels", "saliency"}
    for name in ("labels", "saliency"):
        assert torch.equal(worker[name], on_device[name])
    image, other = worker["image"], on_device["image"]
    assert image.shape == other.shape and other.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal((image == 0).all(dim=1), (other == 0).all(dim=1))  # padding
    assert (image - other).abs().mean() < 0.02 and (image - other).abs().max() < 0.4  # of about 4.5


def test_without_jitter_both_are_equal(rendered):
    index = read_index(rendered / "index.h5")
    images = Images(index, rendered / "images.h5")
    for place in ("worker", "device"):
        settings = recipe(crop=65, scales=[0.5, 0.75, 1.25], augment=place)
        batch = finished(SegmentationSamples(index, images, "train", settings, 0, rendered / "masks.h5"), *range(6))
        if place == "worker":
            expected = batch
    assert batch.keys() == {"image", "label"} and torch.equal(batch["label"], expected["label"])
    torch.testing.assert_close(batch["image"], expected["image"], rtol=0, atol=1e-6)


def test_affinity_images_are_black_outside(rendered, tmp_path):
    from workflow_scripts.data.synthetic.synthetic import CLASSES
    from workflow_scripts.store.artifacts import create

    index = read_index(rendered / "index.h5")
    images = Images(index, rendered / "images.h5")
    with create(tmp_path / "labels.h5", "affinity_labels", dataset="demo", split="train", classes=CLASSES) as file:
        for identifier in index.ids:
            height, width = index.size_of(identifier)
            file.put(identifier, label=torch.zeros(-(-height // 8), -(-width // 8), dtype=torch.uint8).numpy())
    found = {}
    for place in ("worker", "device"):
        settings = recipe(
            crop=160, augment=place, jitter=dict.fromkeys(("brightness", "contrast", "saturation", "hue"), 0)
        )
        samples = AffinitySamples(index, images, "train", settings, 0, tmp_path / "labels.h5", 8)
        found[place] = finished(samples, *range(4))
    torch.testing.assert_close(found["device"]["image"], found["worker"]["image"], rtol=0, atol=1e-6)
    black = finish(default_collate([{"image": found["worker"]["image"][0]}]), CPU)["image"].amin(dim=(2, 3))
    outside = found["worker"]["label"] == 255
    assert outside.any() and not outside.all()
    cells = found["device"]["image"][:, :, 4::8, 4::8].permute(0, 2, 3, 1)[outside]
    torch.testing.assert_close(cells, black.expand_as(cells), rtol=0, atol=1e-6)


@pytest.mark.parametrize("place", ["worker", "device"])
def test_the_number_of_loading_processes_changes_no_byte(rendered, place):
    settings = recipe(augment=place, iterations=4)
    found = []
    for count in (1, 2):
        samples = samples_of(rendered, saliency=True, augment=place)
        with batches(samples, settings, 0, CPU, workers=count) as loaded:
            found.append(list(loaded))
    one, two = found
    assert len(one) == len(two) == 4
    for left, right in zip(one, two, strict=True):
        assert left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_training_with_colours_on_the_device_resumes(rendered, tmp_path):
    settings = {"augment": "device", "iterations": 5}
    train(rendered, tmp_path / "whole", **settings)
    with pytest.raises(Killed):
        train(rendered, tmp_path / "parts", killed_at=4, **settings)
    train(rendered, tmp_path / "parts", **settings)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")
