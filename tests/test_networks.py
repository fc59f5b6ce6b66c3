"""Backbones, the fast depthwise convolution, and weights: what fits, what is refused, and that no code is ever run."""

import os
import pickle
import zipfile
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from conftest import refused
from torch import nn

from workflow_scripts import networks
from workflow_scripts.data.checkpoints.weights import load_initial, load_weights, read_state, save_weights
from workflow_scripts.networks.depthwise import DepthwiseConv
from workflow_scripts.networks.saliency_small import SaliencyNetwork


@pytest.fixture(scope="module")
def mobilenet() -> nn.Module:
    return networks.build("mobilenet_v2", stride=16, batch_norm="frozen")


# --- backbones --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, stride", [("tiny", 8), ("tiny", 16), *(("mobilenet_v2", s) for s in (8, 16, 32))])
def test_feature_maps_have_one_cell_per_stride(name, stride):
    network = networks.build(name, stride=stride).eval()
    assert network.stride == stride
    for height, width in ((64, 96), (65, 33)):
        with torch.inference_mode():
            features = network(torch.randn(1, 3, height, width))
        assert features.shape == (1, network.channels, -(-height // stride), -(-width // stride))


def test_mobilenet_has_the_published_number_of_parameters(mobilenet):
    assert sum(parameter.numel() for parameter in mobilenet.parameters()) == 2_223_872


@pytest.mark.parametrize("stride, dilations", [(8, {1: 8, 2: 7, 4: 3}), (16, {1: 15, 2: 3}), (32, {1: 18})])
def test_a_stride_that_is_left_out_goes_into_the_dilation_of_what_follows(stride, dilations):
    """18 convolutions are 3 x 3; those after a skipped stride are dilated, the skipped one keeps its own taps."""
    network = networks.build("mobilenet_v2", stride=stride)
    found = [m.dilation[0] for m in network.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert {dilation: found.count(dilation) for dilation in found} == dilations
    assert found == sorted(found)


def test_dilated_features_are_the_strided_ones_in_between():
    """Every second cell of the stride-16 network sees exactly the pixels that the stride-32 network sees there."""
    coarse, fine = networks.build("mobilenet_v2", stride=32).eval(), networks.build("mobilenet_v2", stride=16).eval()
    fine.load_state_dict(coarse.state_dict())
    images = torch.randn(1, 3, 96, 96)
    with torch.inference_mode():
        torch.testing.assert_close(fine(images)[:, :, ::2, ::2], coarse(images), rtol=1e-4, atol=1e-4)


def test_the_small_network_refuses_other_strides_and_pretrained_weights():
    refused(lambda: networks.build("tiny", stride=32), "tiny", "32")
    refused(lambda: load_initial(networks.build("tiny"), "imagenet"), "tiny", "initial: random")


def test_imagenet_without_a_connection(mobilenet, tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    refused(
        lambda: load_initial(mobilenet, "imagenet"),
        "initial: imagenet", "mobilenet_v2-", "no route to host", tmp_path / "checkpoints", "random",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["tiny", "mobilenet_v2"])
def test_frozen_batch_norm_stays_in_evaluation_mode(name):
    network = networks.build(name, stride=8, batch_norm="frozen").train()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and not any(norm.training for norm in norms)
    assert not any(parameter.requires_grad for norm in norms for parameter in norm.parameters())
    trained = networks.build(name, stride=8, batch_norm="trained").train()
    assert all(norm.training for norm in trained.modules() if isinstance(norm, nn.BatchNorm2d))


def test_frozen_stages_keep_their_statistics():
    """Also where the batch normalisation of the rest is trained."""
    network = networks.build("tiny", stride=8, batch_norm="trained", frozen_stages=2).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.randn(4, 3, 32, 32))
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith(("layers.1.", "layers.2.", "layers.3.")) for name in changed)
    assert not any(parameter.requires_grad for parameter in network.stem.parameters())


def test_frozen_stages_are_the_first_layers():
    network = networks.build("mobilenet_v2", stride=8, batch_norm="trained", frozen_stages=3)
    for number, stage in enumerate(network.features):
        assert all(parameter.requires_grad == (number >= 3) for parameter in stage.parameters())


def test_saliency_network_gives_a_logit_for_every_pixel():
    network = SaliencyNetwork(None).eval()
    for height, width in ((96, 96), (45, 61)):
        with torch.inference_mode():
            assert network(torch.randn(2, 3, height, width)).shape == (2, 1, height, width)


# --- depthwise convolution --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(16, 24), (17, 23), (7, 5), (1, 2)])
@pytest.mark.parametrize("stride, dilation", [(1, 1), (2, 1), (1, 2), (1, 4)])
def test_depthwise_convolution_is_the_ordinary_one(stride, dilation, size, bias):
    torch.manual_seed(0)
    arguments = (6, 6, 3, stride, dilation, dilation, 6, bias)
    plain, fast = nn.Conv2d(*arguments).double(), DepthwiseConv(*arguments).double()
    fast.load_state_dict(plain.state_dict())
    inputs = torch.randn(2, 6, *size, dtype=torch.float64)
    gradients = []
    for network in (plain, fast):
        own = inputs.clone().requires_grad_()
        output = network(own)
        weights = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).reshape(output.shape)
        (output * weights).sum().backward()
        gradients.append((output.detach(), own.grad, *(parameter.grad for parameter in network.parameters())))
    for found, expected in zip(*gradients[::-1], strict=True):
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_every_depthwise_convolution_of_mobilenet_takes_the_fast_way(mobilenet):
    depthwise = [module for module in mobilenet.modules() if isinstance(module, nn.Conv2d) and module.groups > 1]
    assert len(depthwise) == 17 and all(isinstance(module, DepthwiseConv) for module in depthwise)


# --- weights ----------------------------------------------------------------------------------------------------------


def test_weights_are_as_readable_as_other_files(tmp_path):
    before = os.umask(0o026)
    try:
        save_weights(nn.Linear(2, 3), tmp_path / "a.safetensors")
        Path(tmp_path, "plain").touch()
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {0o640}


def test_weights_come_back_bit_by_bit(tmp_path):
    one, other = networks.build("tiny"), networks.build("tiny")
    save_weights(one, tmp_path / "a.safetensors")
    load_weights(other, tmp_path / "a.safetensors")
    for name, value in one.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)
    save_weights(other, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_initial_weights_may_be_half_precision_and_hold_a_classifier(tmp_path, mobilenet):
    state = {name: value.half() for name, value in mobilenet.state_dict().items() if value.is_floating_point()}
    torch.save({**state, "classifier.1.weight": torch.zeros(1000, 1280)}, tmp_path / "a.pth")
    network = networks.build("mobilenet_v2")
    load_initial(network, str(tmp_path / "a.pth"))
    for name, value in state.items():
        assert network.state_dict()[name].dtype == torch.float32
        assert torch.equal(network.state_dict()[name], value.float())


def test_random_weights_read_nothing(tmp_path):
    network = networks.build("tiny")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_initial(network, "random")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_missing_weights(tmp_path, name):
    refused(lambda: read_state(tmp_path / name), tmp_path / name, "no such weights", "download")


def test_weights_of_another_network_name_the_layers(tmp_path, mobilenet):
    save_weights(mobilenet, tmp_path / "a.safetensors")
    message = refused(lambda: load_weights(networks.build("tiny"), tmp_path / "a.safetensors"), tmp_path)
    assert "missing: stem.weight" in message and "unknown: features." in message and "more" in message


def test_weights_of_another_shape_name_the_layer(tmp_path):
    network = networks.build("tiny")
    state = network.state_dict() | {"stem.weight": torch.zeros(24, 4, 3, 3)}
    torch.save(state, tmp_path / "a.pth")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    message = refused(lambda: load_initial(network, str(tmp_path / "a.pth")), tmp_path, "of another shape: stem.weight")
    assert "missing" not in message and "unknown" not in message
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class Attack:
    """Unpickled, it would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, form):
    path, trace = tmp_path / "a.pth", tmp_path / "trace"
    state = {"stem.weight": torch.zeros(1), "more": Attack(trace)}
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(state["more"], protocol=2))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    refused(lambda: read_state(path), path, "not a state dict of tensors")
    assert not trace.exists()
    if form == "zip":
        refused(lambda: read_state(path), "holds code, which is never run")
        with zipfile.ZipFile(path) as archive:  # the attack is real: only the reader stops it
            content = next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
        assert b"mkdir" in content


@pytest.mark.parametrize(
    "state", [{"epoch": 3, "weights": {"a": torch.zeros(1)}}, {}, [torch.zeros(1)], torch.zeros(1)]
)
def test_a_checkpoint_of_more_than_tensors_is_refused(tmp_path, state):
    torch.save(state, tmp_path / "a.pth")
    refused(lambda: read_state(tmp_path / "a.pth"), tmp_path / "a.pth", "network.state_dict() alone")


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
@pytest.mark.parametrize("keep", [0, 7, 1000, -1])
def test_damaged_weights(tmp_path, name, keep):
    path = tmp_path / name
    network = networks.build("tiny")
    if path.suffix == ".pth":
        torch.save(network.state_dict(), path)
    else:
        save_weights(network, path)
    path.write_bytes(path.read_bytes()[:keep])
    refused(lambda: read_state(path), path, "damaged or no checkpoint")


def test_a_text_file_is_no_checkpoint(tmp_path):
    (tmp_path / "a.pth").write_text("<html>404</html>\n")
    refused(lambda: read_state(tmp_path / "a.pth"), tmp_path / "a.pth", "not a state dict of tensors")
