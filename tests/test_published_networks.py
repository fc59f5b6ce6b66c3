"""The published networks: parameters, feature sizes, and weights in the forms that their authors gave them."""

import struct
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import refused
from torch import nn

from workflow_scripts import networks, segmentation
from workflow_scripts.base.plugins import plugin
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.checkpoints.mxnet_params import read_params
from workflow_scripts.data.checkpoints.weights import load_initial
from workflow_scripts.networks.colours import CAFFE_MEAN, Colours
from workflow_scripts.refine.affinity_net import AffinityNetwork
from workflow_scripts.segmentation.losses import label_loss
from workflow_scripts.training.optimiser import parameter_groups

CONFIG = Config.load()
VOC = CONFIG.dataset("voc").classes


def namespace(block) -> SimpleNamespace:
    return SimpleNamespace(**{key: getattr(block, key) for key in type(block).model_fields})


def backbone(block) -> nn.Module:
    return networks.build(**block.backbone.model_dump())


def classifier(name: str, classes=VOC) -> nn.Module:
    block = CONFIG.block("voc", "classifiers", name)
    return plugin("methods", block.method).Classifier(backbone(block), classes, block.options)


def segmenter(name: str, labels: int = 21) -> nn.Module:
    block = namespace(CONFIG.block("voc", "segmenters", name))
    block.backbone = SimpleNamespace(**block.backbone.model_dump())
    return segmentation.build(block, labels)


def affinity(name: str) -> nn.Module:
    block = CONFIG.block("voc", "affinities", name)
    return AffinityNetwork(backbone(block), block)


def millions(network: nn.Module, trained: bool = False) -> float:
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trained) / 1e6


# --- parameters (measured on the published networks) -------------------------------------------------------------------

COCO = [str(number) for number in range(80)]
PARAMETERS = {
    "ResNet38 CAM": (lambda: classifier("cam_resnet38"), 105.15, 104.28),
    "ResNet38 EPS": (lambda: classifier("eps_resnet38"), 105.16, 104.29),
    "ResNet38 EPS, COCO": (lambda: classifier("eps_resnet38", COCO), 105.40, 104.53),
    "ResNet38 AffinityNet": (lambda: affinity("cam_resnet38"), 106.48, 105.62),
    "ResNet38 DeepLab-V1": (lambda: segmenter("deeplab_v1_resnet38"), 124.04, 123.99),
    "VGG16 CAM of PSA": (lambda: classifier("cam_vgg16"), 20.50, None),
    "VGG16 AffinityNet": (lambda: affinity("cam_vgg16"), 21.05, None),
    "ResNet50 CAM of IRN": (lambda: classifier("cam_resnet50"), 23.55, None),
    "ResNet101 DeepLab-V2": (lambda: segmenter("deeplab_v2_resnet101"), 44.05, None),
    "ResNet101 DeepLab-V1": (lambda: segmenter("deeplab_v1_resnet101"), 42.89, None),
    "VGG16 DeepLab-V1": (lambda: segmenter("deeplab_v1_vgg16"), 20.51, None),
    "VGG16 DeepLab-V2": (lambda: segmenter("deeplab_v2_vgg16"), 37.88, None),
    "VGG16 BANA": (lambda: classifier("bana_vgg16"), 20.505, None),
    "VGG16 DeepLab-V1 of BANA": (lambda: segmenter("bana_vgg16"), 20.505, None),
    "ResNet101 DeepLab-V2 of BANA": (lambda: segmenter("bana_resnet101"), 61.38, None),
    "VGG16 DeepLab-V2, COCO": (lambda: segmenter("deeplab_v2_vgg16", 81), 38.12, None),
}


@pytest.mark.parametrize(("build", "total", "trained"), PARAMETERS.values(), ids=PARAMETERS)
def test_parameters(build, total, trained):
    with torch.device("meta"):
        network = build()
    assert millions(network) == pytest.approx(total, abs=0.0101)
    if trained is not None:
        frozen_norms = sum(p.numel() for n, p in network.named_parameters() if "bn" in n and not p.requires_grad) / 1e6
        stages = millions(network) - millions(network, trained=True) - frozen_norms
        assert millions(network) - stages - frozen_norms == pytest.approx(trained, abs=0.0101)


def test_groups_of_affinity_net_on_resnet38():
    with torch.device("meta"):
        network = affinity("cam_resnet38")
    groups = parameter_groups(network, CONFIG.block("voc", "affinities", "cam_resnet38").recipe)
    sizes = [(len(group["params"]), sum(p.numel() for p in group["params"]) / 1e6) for group in groups]
    assert [count for count, _ in sizes] == [35, 4]
    assert [size for _, size in sizes] == pytest.approx([104.20, 1.413], abs=0.01)
    assert [group["lr"] for group in groups] == pytest.approx([0.1, 1.0])


# --- feature sizes ------------------------------------------------------------------------------------------------------

SIZES = {
    "resnet38": ({"name": "resnet38", "stride": 8}, [161, 81, 41, 41, 41]),
    "resnet101": ({"name": "resnet", "depth": 101, "stride": 8}, [161, 81, 41, 41, 41]),
    "resnet50": ({"name": "resnet", "depth": 50, "stride": 16}, [161, 81, 41, 21, 21]),
    "vgg16 psa": ({"name": "vgg16", "form": "psa"}, [161, 81, 41, 41, 41]),
    "vgg16 large_fov": ({"name": "vgg16", "form": "large_fov"}, [161, 81, 41, 41, 41]),
    "vgg16 aspp": ({"name": "vgg16", "form": "aspp"}, [161, 81, 41, 41, 41]),
    "vgg16 seenet": ({"name": "vgg16", "form": "seenet", "stride": 16}, [160, 80, 40, 20, 20]),
}


@pytest.mark.parametrize(("options", "sides"), SIZES.values(), ids=SIZES)
def test_feature_sizes(options, sides):
    with torch.device("meta"):
        network = networks.build(**options).eval()
        images = torch.zeros(1, 3, 321, 321)
    maps = network.pyramid(images)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (channels, side, side) for channels, side in zip(network.pyramid_channels, sides, strict=True)
    ]
    assert network(images).shape == maps[-1].shape and network.channels == maps[-1].shape[1]
    if network.stride == 8:
        taps = network.taps(images)
        assert [tap.shape[1] for tap in taps] == list(network.tap_channels)
        assert all(tap.shape[-2:] == (41, 41) for tap in taps)


def test_deeplab_v2_scores_four_sizes():
    with torch.device("meta"):
        network = segmenter("deeplab_v2_resnet101").eval()
        maps = network.all_scales(torch.zeros(1, 3, 321, 321))
    assert [m.shape[-1] for m in maps] == [41, 21, 31, 41] and all(m.shape[1] == 21 for m in maps)


def test_resnet_takes_strides_where_it_is_told():
    first, middle = (networks.build("resnet", depth=50, stride=16, stride_in=where) for where in ("first", "middle"))
    assert first.layer2[0].conv1.stride == middle.layer2[0].conv2.stride == (2, 2)
    assert first.layer2[0].conv2.stride == middle.layer2[0].conv1.stride == (1, 1)
    assert {block.conv2.dilation for block in first.layer4} == {(2, 2)}
    assert first.layer4[0].downsample[0].stride == (1, 1)


def test_frozen_stages_of_resnet38():
    with torch.device("meta"):
        network = networks.build("resnet38", stride=8, frozen_stages=2, batch_norm="trained")
    kept = {name.partition(".")[0] for name, p in network.named_parameters() if not p.requires_grad}
    assert kept == {"conv1a", "b2", "b2_1", "b2_2"}


# --- losses and colours -------------------------------------------------------------------------------------------------


def test_labels_are_sampled_at_the_centres_of_cells():
    """As Pillow's nearest neighbour, which never makes a new label."""
    from PIL import Image

    label = np.random.default_rng(0).integers(0, 21, (1, 321, 321), np.uint8)
    label[0, :9] = 255
    expected = np.asarray(Image.fromarray(label[0]).resize((41, 41), Image.NEAREST)).astype(np.int64)
    logits = torch.randn(1, 21, 41, 41)
    loss = label_loss(logits, torch.from_numpy(label).long(), "logits", False)
    direct = nn.functional.cross_entropy(logits, torch.from_numpy(expected)[None], ignore_index=255)
    torch.testing.assert_close(loss, direct)


def test_caffe_colours():
    rgb = torch.tensor([[250.0, 120.0, 10.0]])[..., None, None]
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (rgb / 255 - mean[:, None, None]) / deviation[:, None, None]
    expected = torch.tensor([10.0, 120.0, 250.0]) - torch.tensor(CAFFE_MEAN)
    torch.testing.assert_close(Colours("caffe")(normalised).flatten(), expected, rtol=0, atol=1e-4)
    assert torch.equal(Colours("torch")(normalised), normalised)


# --- foreign weights ----------------------------------------------------------------------------------------------------


def params_file(arrays: dict[str, np.ndarray], version: int) -> bytes:
    data = struct.pack("<QQQ", 0x112, 0, len(arrays))
    for array in arrays.values():
        if version:
            data += struct.pack("<I", 0xF993FAC7 + version) + (struct.pack("<i", 0) if version > 1 else b"")
            data += struct.pack(f"<I{array.ndim}q", array.ndim, *array.shape)
        else:
            data += struct.pack(f"<I{array.ndim}I", array.ndim, *array.shape)
        data += struct.pack("<iii", 1, 0, 0) + array.astype("<f4").tobytes()
    data += struct.pack("<Q", len(arrays))
    return data + b"".join(struct.pack("<Q", len(name)) + name.encode() for name in arrays)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_params_of_mxnet(tmp_path, version):
    arrays = {"arg:a_weight": np.arange(6.0).reshape(1, 2, 3), "aux:b_moving_var": np.ones(4)}
    path = tmp_path / "net.params"
    path.write_bytes(params_file(arrays, version))
    read = read_params(path)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
    whole = path.read_bytes()
    for end in (0, 7, 20, 40, len(whole) - 1):
        path.write_bytes(whole[:end])
        refused(lambda: read_params(path), str(path), "download")


def test_params_that_ask_for_too_much(tmp_path):
    path = tmp_path / "net.params"
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 2**60))
    refused(lambda: read_params(path), str(path), "damaged")
    path.write_bytes(
        struct.pack("<QQQIi", 0x112, 0, 1, 0xF993FAC9, 0) + struct.pack("<I2q", 2, 2**40, 2**40) + bytes(12)
    )
    refused(lambda: read_params(path), str(path), "damaged")


def mxnet_names(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The published names of ResNet38's layers, the other way round."""
    arrays = {"arg:linear1000_weight": np.zeros((2, 2)), "arg:linear1000_bias": np.zeros(2)}
    parts = {"weight": "weight", "running_mean": "moving_mean", "running_var": "moving_var"}
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        layer, part = name.rpartition(".")[::2]
        norm = "bn" in layer
        written = {"weight": "gamma", "bias": "beta"}.get(part, parts.get(part)) if norm else part
        if "." in layer:
            block, branch = layer.split(".")
            stage, _, number = block.removeprefix("b").partition("_")
            kind, _, branch = branch.partition("_")
            layer = f"{'bn' if kind == 'bn' else 'res'}{stage}{f'b{number}' if number else 'a'}_{branch}"
        arrays[f"{'aux' if 'moving' in written else 'arg'}:{layer}_{written}"] = value.numpy()
    return arrays


class ThinNorm(nn.BatchNorm2d):
    def __init__(self, channels: int):
        super().__init__(channels // 16)


def test_resnet38_takes_the_published_parameters(tmp_path, monkeypatch):
    import workflow_scripts.networks.resnet38 as module

    narrow = module._convolution  # a sixteenth of the channels: the names are what is tested
    thin = lambda inputs, outputs, *rest, **more: narrow(max(3, inputs // 16), outputs // 16, *rest, **more)  # noqa: E731
    monkeypatch.setattr(module, "_convolution", thin)
    monkeypatch.setattr(module.nn, "BatchNorm2d", ThinNorm)
    source, target = networks.build("resnet38", stride=8), networks.build("resnet38", stride=8)
    for tensor in source.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape))
    path = tmp_path / "net.params"
    arrays = mxnet_names(source.state_dict())
    assert "arg:res2b1_branch2a_weight" in arrays and "arg:bn7_gamma" in arrays and "arg:conv1a_weight" in arrays
    path.write_bytes(params_file(arrays, 2))
    load_initial(target, str(path))
    for name, value in source.state_dict().items():
        assert name.endswith("num_batches_tracked") or torch.equal(value, target.state_dict()[name]), name
    arrays.pop("arg:bn7_gamma")
    path.write_bytes(params_file(arrays, 2))
    refused(lambda: load_initial(target, str(path)), str(path), "bn7.weight")
