"""PFAN and DSS: golden values, layouts, losses, published recipes and published weights; the network on any backbone."""

import math

import h5py
import numpy as np
import pytest
import torch
from conftest import SOURCES, refused
from test_published_networks import CONFIG
from training_set import namespace

from workflow_scripts.data.checkpoints import saliency_weights
from workflow_scripts.data.checkpoints.saliency_weights import load_initial, load_published
from workflow_scripts.detectors.network import build
from workflow_scripts.networks.saliency_dss import DEEPER, SIDES, Larger
from workflow_scripts.networks.saliency_pfan import edge_preserving_loss, edges
from workflow_scripts.networks.vgg16_features import Vgg16Features
from workflow_scripts.training import optimiser

VGG16 = 14_714_688


def options(block: str, **changes):
    return namespace(CONFIG.block("voc", "saliency", block).network.model_dump(mode="json") | changes)


def count(module, trained=False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


@pytest.fixture(scope="module")
def pfan():
    return build(options("pfan_port")).eval()


# --- PFAN -------------------------------------------------------------------------------------------------------------


def test_pfan_has_the_published_layers(pfan):
    """Counts of the published port, module by module."""
    counts = {
        "vgg16": VGG16, "cpfe_conv3_3": 229_632, "cpfe_conv4_3": 459_008, "cpfe_conv5_3": 459_008, "cha_att": 74_208,
        "hl_conv1": 221_248, "hl_bn1": 128, "ll_conv_1": 36_928, "ll_bn_1": 128, "ll_conv_2": 73_792, "ll_bn_2": 128,
        "ll_conv_3": 73_792, "ll_bn_3": 128, "spa_att": 37_638, "ff_conv_1": 1_153,
    }  # fmt: skip
    assert {name: count(module) for name, module in pfan.named_children()} == counts
    assert round(count(pfan) / 1e6, 2) == 16.38
    official = build(options("pfan"))
    assert count(official.hl_conv1) == 384 * 64 + 64


def test_pfan_gives_what_the_published_port_gives(pfan):
    with torch.no_grad():
        for k, (name, parameter) in enumerate(pfan.named_parameters()):
            v = torch.sin(0.7 * torch.arange(parameter.numel(), dtype=torch.float64) + 0.13 * k).float()
            v = v.reshape(parameter.shape)
            if parameter.ndim > 1:
                parameter.copy_(v * math.sqrt(0.6 / parameter[0].numel()))
            else:
                parameter.copy_(1 + 0.1 * v if "bn" in name and name.endswith("weight") else 0.01 * v)
        assert k == 81
        x = torch.from_numpy(np.random.RandomState(0).randn(1, 3, 256, 256)).float()
        maps, (_, attention) = pfan.maps(x), pfan._logits(x)
    assert maps.shape == (1, 1, 256, 256)
    assert maps.mean().item() == pytest.approx(0.493354, rel=2e-5)
    assert maps.std().item() == pytest.approx(0.193755, rel=2e-5)
    assert maps[0, 0, 128, 128].item() == pytest.approx(0.520584, rel=2e-5)
    assert attention.mean().item() == pytest.approx(0.500019, rel=2e-5)


def test_edges_and_their_loss_on_paper():
    mask = torch.zeros(1, 1, 6, 6)
    mask[..., 2:4, 2:4] = 1
    found = edges(mask)[0, 0]
    assert (found > 0).sum() == 4 and found[2, 2] == pytest.approx(math.tanh(5))  # three neighbours of nine are inside
    losses = edge_preserving_loss(torch.where(mask > 0, 2.0, -1.0), mask)
    one, zero = -math.log(1 / (1 + math.exp(-2))), -math.log(1 - 1 / (1 + math.exp(1)))
    assert losses["saliency"].item() == pytest.approx(0.7 * (1.12 * 4 * one + 32 * zero) / 36, rel=1e-5)
    flat = edge_preserving_loss(torch.full_like(mask, -1.0).requires_grad_(), mask)
    sum(flat.values()).backward()
    assert flat["edge"] > losses["edge"]  # a map without edges misses those of the mask


def test_official_pfan_sees_its_own_colours_and_its_own_statistics():
    torch.manual_seed(0)
    network = build(options("pfan")).eval()
    seen = []
    network.vgg16.register_forward_hook(lambda *_: None)
    network.vgg16.taps = lambda images: seen.append(images) or Vgg16Features.taps(network.vgg16, images)
    gray = torch.zeros(1, 3, 32, 32)  # the ImageNet mean, 123.675, 116.28, 103.53
    with torch.no_grad():
        network(gray)
    torch.testing.assert_close(
        seen[0][0, :, 0, 0], torch.tensor([123.675 - 103.939, 116.28 - 116.779, 103.53 - 123.68])
    )
    assert not [name for name, _ in network.named_buffers() if "running" in name]


# --- DSS --------------------------------------------------------------------------------------------------------------


def test_dss_has_the_published_layers():
    network = build(options("dss"))
    inputs, sides = (64, 128, 256, 512, 512, 512), 0
    for before, (channels, kernel), side in zip(inputs, SIDES, network.feat, strict=True):
        expected = (before + channels) * channels * kernel**2 + 2 * channels + channels + 1
        assert count(side) == expected
        sides += expected
    joins = sum(len(deeper) + 2 for deeper in DEEPER if deeper)
    assert count(network, trained=True) == VGG16 + sides + joins + 7 == 62_225_505
    assert count(network) > count(network, trained=True)  # up-sampling is there, and fixed
    port = build(options("dss_published"))
    assert count(port) == count(port, trained=True)


@pytest.mark.parametrize("size", [(64, 96), (50, 81)])
def test_dss_scores_every_pixel_seven_times(size):
    torch.manual_seed(0)
    network = build(options("dss")).eval()
    with torch.inference_mode():
        logits, maps = network(torch.randn(2, 3, *size)), network.maps(torch.randn(2, 3, *size))
    assert logits.shape == (2, 7, *size) and maps.shape == (2, 1, *size)
    torch.testing.assert_close(logits[:, 6], logits[:, :6].mean(dim=1), atol=1e-6, rtol=1e-5)  # as it begins
    assert 0 < maps.min() and maps.max() < 1


def test_upsampling_begins_bilinear():
    small = torch.randn(1, 1, 6, 7)
    for factor in (2, 4, 8):
        larger = Larger(factor, learned=False)(small)
        expected = torch.nn.functional.interpolate(small, scale_factor=factor, mode="bilinear", align_corners=False)
        inner = (..., slice(factor, -factor), slice(factor, -factor))
        torch.testing.assert_close(larger[inner], expected[inner])


def test_dss_leaves_padding_out_of_its_loss():
    torch.manual_seed(0)
    network = build(options("dss", reduction="mean"))
    image, mask, valid = torch.randn(1, 3, 64, 64), torch.ones(1, 1, 64, 64), torch.ones(1, 1, 64, 64)
    valid[..., :20] = 0
    with torch.no_grad():
        one = network.losses({"image": image, "mask": mask, "valid": valid})
        mask[..., :20] = 0
        other = network.losses({"image": image, "mask": mask, "valid": valid})
        network.options.reduction = "sum"
        total = network.losses({"image": image, "mask": mask, "valid": valid})
    assert list(one) == [*(f"side_{k}" for k in range(1, 7)), "fusion"]
    assert all(torch.equal(one[name], other[name]) for name in one)
    for name, value in total.items():
        assert value.item() == pytest.approx(one[name].item() * 44 * 64, rel=1e-5)


# --- published recipes ------------------------------------------------------------------------------------------------

# Rates of pretrained weights and biases, then of new ones (of DSS: of scoring layers).
RATES = {"pfan": [0.01] * 4, "pfan_port": [4e-4] * 4, "dss": [1e-8, 2e-8, 1e-9, 2e-9]}
LATER = {"pfan": (12700, 0.01 / 8), "pfan_port": (600_000, 4e-4), "dss": (7500, 1e-9)}


@pytest.mark.parametrize("name", RATES)
def test_one_step_of_a_published_recipe(name):
    torch.manual_seed(0)
    block = CONFIG.block("voc", "saliency", name)
    network = build(options(name)).train()
    step, schedule = optimiser.build(network, block.recipe)
    assert [group["lr"] for group in step.param_groups] == pytest.approx(RATES[name])
    at, rate = LATER[name]
    assert schedule.lr_lambdas[0](at) * RATES[name][0] == pytest.approx(rate)
    side = block.input.side
    mask = (torch.rand(1, 1, side, side) > 0.7).float()
    batch = {"image": torch.randn(1, 3, side, side), "mask": mask, "valid": torch.ones_like(mask)}
    with torch.autocast("cpu", dtype=torch.bfloat16):  # half the time; the real runs take the recipe's precision
        losses = network.losses(batch)
    assert losses and all(math.isfinite(value.item()) for value in losses.values())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    sum(losses.values()).backward()
    step.step()
    changed = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    prefix = "base." if name == "dss" else "vgg16."
    assert any(key.startswith(prefix) for key in changed) and any(not key.startswith(prefix) for key in changed)
    assert not any("conv" in key and key.startswith("comb") and "up" in key for key in changed)


def test_every_published_recipe_is_tried():
    names = CONFIG.names("voc", "saliency")
    learnt = {n for n in names if getattr(CONFIG.block("voc", "saliency", n), "detector", "") == "network"}
    assert learnt - {"rendered", "dss_crf"} == set(RATES)


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["torchvision", "features", "caffe"])
def test_vgg16_starts_from_weights_of_any_usual_names(tmp_path, names):
    source = build(options("pfan_port")).vgg16
    own = source.state_dict()
    if names == "torchvision":
        state = {f"features.{name}": value for name, value in own.items()} | {"classifier.0.weight": torch.zeros(2, 2)}
    elif names == "features":
        state = own
    else:
        caffe = [f"conv{s}_{n}" for s, count in enumerate((2, 2, 3, 3, 3), 1) for n in range(1, count + 1)]
        layers = list(dict.fromkeys(name.partition(".")[0] for name in own))
        state = {
            f"{new}.{part}": own[f"{old}.{part}"]
            for new, old in zip(caffe, layers, strict=True)
            for part in ("weight", "bias")
        }
        state |= {"fc6.weight": torch.zeros(2, 2)}
    torch.save(state, tmp_path / "vgg16.pth")
    target = build(options("pfan_port"))
    load_initial(target, str(tmp_path / "vgg16.pth"))
    assert all(torch.equal(own[name], value) for name, value in target.vgg16.state_dict().items())


def test_a_checkpoint_of_the_port_is_read(tmp_path, pfan):
    """As its training saves it: the weights under `model`, beside numbers of numpy."""
    path = tmp_path / "best.pth"
    torch.save(
        {"epoch": 3, "test_mae": np.float32(0.04), "test_loss": np.float64(0.1), "model": pfan.state_dict()}, path
    )
    other = build(options("pfan_port"))
    load_published(other, str(path))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in pfan.state_dict().items())
    state = pfan.state_dict()
    state.pop("spa_att.grp1_bn2.weight")
    torch.save({"model": state | {"extra.weight": torch.zeros(1)}}, path)
    refused(lambda: load_published(other, str(path)), path, "missing: spa_att.grp1_bn2.weight", "unknown: extra.weight")


def test_a_file_of_the_official_code_is_read(tmp_path):
    torch.manual_seed(1)
    source, target = build(options("pfan")), build(options("pfan_published"))
    layers = {ours: theirs for theirs, ours in keras_layers(source).items()}
    path = tmp_path / "PFA_00050.h5"
    with h5py.File(path, "w") as file:
        for name, value in source.state_dict().items():
            layer, _, part = name.rpartition(".")
            theirs = layers[layer]
            norm = theirs.endswith("_BN")
            kind = {"weight": "gamma" if norm else "kernel", "bias": "beta" if norm else "bias"}[part]
            array = value.numpy()
            array = array.transpose({4: (2, 3, 1, 0), 2: (1, 0)}[array.ndim]) if array.ndim > 1 else array
            file[f"{theirs}/{theirs}/{kind}:0"] = array
            if kind == "gamma":
                file[f"{theirs}/{theirs}/moving_mean:0"] = file[f"{theirs}/{theirs}/moving_variance:0"] = np.ones_like(
                    array
                )
    load_published(target, str(path))
    assert all(torch.equal(value, target.state_dict()[name]) for name, value in source.state_dict().items())


def keras_layers(network) -> dict[str, str]:
    from workflow_scripts.networks.saliency_pfan import KERAS_LAYERS

    blocks = [f"block{s}_conv{n}" for s, count in enumerate((2, 2, 3, 3, 3), 1) for n in range(1, count + 1)]
    numbers = [n for n, layer in enumerate(network.vgg16) if isinstance(layer, torch.nn.Conv2d)]
    own = KERAS_LAYERS | {name: f"vgg16.{n}" for name, n in zip(blocks, numbers, strict=True)}
    return own | {"dense_9": "cha_att.linear_1", "dense_10": "cha_att.linear_2"}  # whatever number Keras came to


def test_weights_of_dss_are_read_by_both_names(tmp_path):
    torch.manual_seed(1)
    port = build(options("dss_published"))
    state = port.state_dict()
    saved = {name: value for name, value in state.items() if name != "fuse.weight"}
    path = tmp_path / "dss.pth"
    torch.save(saved | {"fuse.weights": torch.arange(6.0)}, path)
    load_published(port, str(path))
    assert port.fuse.weight.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    torch.save(saved, path)  # its first version, which takes the mean
    load_published(port, str(path))
    assert port.fuse.weight.flatten().tolist() == pytest.approx([1 / 6] * 6)

    network = build(options("dss"))
    caffe = caffe_state(network)
    torch.save(caffe, path)
    other = build(options("dss"))
    load_published(other, str(path))
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())
    # conv4-dsn2 joins its own score and those of 5, 4, 6 and 3; ours are its own, 3, 4, 5, 6
    assert (
        caffe["conv4-dsn2.weight"][0, :, 0, 0].tolist()
        == network.comb[1].conv.weight[0, [0, 3, 2, 4, 1], 0, 0].tolist()
    )
    torch.save(caffe | {"conv9-other.weight": torch.zeros(1)}, path)
    refused(lambda: load_published(other, str(path)), path, "unknown: conv9-other.weight")


def caffe_state(network) -> dict[str, torch.Tensor]:
    names = [f"conv{s}_{n}" for s, count in enumerate((2, 2, 3, 3, 3), 1) for n in range(1, count + 1)]
    layers = [layer for layer in network.base if isinstance(layer, torch.nn.Conv2d)]
    for side, output in enumerate(network.feat, 1):
        names += [f"conv{n}-dsn{side}" for n in (1, 2, 3)]
        layers += [output.main[n] for n in (0, 2, 4)]
    state = {f"{name}.weight": layer.weight for name, layer in zip(names, layers, strict=True)}
    state |= {f"{name}.bias": layer.bias for name, layer in zip(names, layers, strict=True)}
    orders = {5: [0, 3, 2, 4, 1], 3: [0, 2, 1]}
    for side, join in enumerate(network.comb[:4], 1):
        weight = join.conv.weight
        state[f"conv4-dsn{side}.weight"] = weight[:, orders[weight.shape[1]]]
        state[f"conv4-dsn{side}.bias"] = join.conv.bias
    state |= {"new-score-weighting.weight": network.fuse.weight, "new-score-weighting.bias": network.fuse.bias}
    return {name: value.detach().clone() for name, value in state.items()}


class Trap:
    def __reduce__(self):
        return print, ("code was run",)


def test_published_weights_that_cannot_be_read(tmp_path, capsys, pfan):
    path = tmp_path / "weights.pth"
    refused(lambda: load_published(pfan, str(path)), path, "no such weights", "'weights'")
    torch.save({"model": Trap()}, path)
    refused(lambda: load_published(pfan, str(path)), path, "code, which is never run")
    path.write_bytes(b"no weights")
    refused(lambda: load_published(pfan, str(path)), path)
    torch.save({"model": 3}, path)
    refused(lambda: load_published(pfan, str(path)), path, "no state dict")
    broken = tmp_path / "weights.h5"
    broken.write_bytes(b"no weights")
    refused(lambda: load_published(pfan, str(broken)), broken, "Keras")
    assert "code was run" not in capsys.readouterr().out


def test_importers_say_that_they_are_not_yet_tried():
    assert "not yet tried" in saliency_weights.__doc__
    text = (SOURCES / "library/saliency.yaml").read_text()
    assert text.count("the importer is not yet tried on the file") == 2


# --- on any backbone --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(64, 96), (65, 33)])
def test_a_pyramid_gives_a_logit_for_every_pixel(size):
    backbone = {"name": "tiny", "stride": 8, "batch_norm": "frozen", "frozen_stages": 0}
    network = build(options("distilled", backbone=backbone, width=16))
    logits = network(torch.randn(2, 3, *size))
    assert logits.shape == (2, 1, *size)
    losses = network.losses({"image": torch.randn(2, 3, *size), "mask": torch.rand(2, 1, *size)})
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in network.new_parameters())
