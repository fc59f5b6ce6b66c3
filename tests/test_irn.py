"""IRN's edge network as its published code has it: layers, head, labels, testing on a frame, groups and names of its file."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import put, refused
from test_golden_affinity import affinity
from test_published_networks import CONFIG, classifier
from torch import nn
from torchvision.models import resnet50

from workflow_scripts import networks
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.checkpoints.layer_names import of_backbone, of_network
from workflow_scripts.data.checkpoints.weights import load_initial, load_strictly, load_trained
from workflow_scripts.refine.irn import AffinityNetwork, cell_labels, edge_map
from workflow_scripts.training.optimiser import parameter_groups

pytestmark = pytest.mark.filterwarnings("ignore:.*num_batches_tracked. copying from a non-meta:UserWarning")
OPTIONS = SimpleNamespace(radius=10, border="published")


# --- layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [50, 101])
def test_irn_s_resnet_is_torchvision_s_but_for_the_last_stride(depth):
    """Its layer4 has stride 1, nothing is dilated, and sides are rounded up at every stride."""
    with torch.device("meta"):
        ours = networks.build("resnet", depth=depth, stride=16, stride_in="middle", form="irn").eval()
        theirs = resnet50(weights=None)
        maps = ours.pyramid(torch.zeros(1, 3, 70, 97))
    assert [tuple(m.shape[-2:]) for m in maps] == [(35, 49), (18, 25), (9, 13), (5, 7), (5, 7)]
    assert {m.dilation for m in ours.modules() if isinstance(m, nn.Conv2d)} == {(1, 1)}
    assert not ours.maxpool.ceil_mode and theirs.maxpool.ceil_mode is False
    strides = {name: part.stride for name, part in theirs.named_modules() if isinstance(part, nn.Conv2d)}
    own = {name: part.stride for name, part in ours.named_modules() if isinstance(part, nn.Conv2d)}
    changed = {name for name in strides if strides[name] != own[name]}
    assert changed == {"layer4.0.conv2", "layer4.0.downsample.0"} and own["layer4.0.conv2"] == (1, 1)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tiny", {"stride": 8}),
        ("tiny", {"stride": 16}),
        ("mobilenet_v2", {"stride": 16}),
        ("mobilenet_v2", {"stride": 8}),
        ("resnet38", {}),
        ("vgg16", {"form": "psa"}),
        ("resnet", {"depth": 50, "stride": 16, "stride_in": "middle", "form": "irn"}),
    ],
)
def test_edges_have_a_cell_for_every_four_pixels_begun(name, options):
    with torch.device("meta"):
        network = AffinityNetwork(networks.build(name, **options), OPTIONS).eval()
        taps = network.taps(torch.zeros(1, 3, 77, 98))
        assert network(torch.zeros(2, 3, 77, 98)).shape == (2, 1, 20, 25)
    assert taps[0].shape[-2:] == taps[1].shape[-2:] == (20, 25)
    sides = [-(-98 // max(stride, 4)) for stride in network.backbone.pyramid_strides]
    assert [tap.shape[-1] for tap in taps] == sides


def test_the_first_map_is_pooled_before_it_is_reduced():
    network = AffinityNetwork(networks.build("tiny"), OPTIONS).eval()
    images = torch.randn(1, 3, 30, 41)
    first, tap = network.backbone.pyramid(images)[0], network.taps(images)[0]
    padded = nn.functional.pad(first, (1, 1, 1, 1), value=-torch.inf)
    assert tap[0, :, 3, 5].tolist() == padded[0, :, 6:9, 10:13].amax((1, 2)).tolist()


def enlarged(maps: np.ndarray, factor: int) -> np.ndarray:
    """(D, h, w) -> (D, factor h, factor w), bilinear, corners not aligned, written out."""
    for axis in (1, 2):
        side = maps.shape[axis]
        place = ((np.arange(side * factor) + 0.5) / factor - 0.5).clip(0)
        low = place.astype(int)
        share = (place - low).reshape(-1, *[1] * (2 - axis))
        maps = maps.take(low, axis) * (1 - share) + maps.take((low + 1).clip(max=side - 1), axis) * share
    return maps


def test_the_head_is_group_normalisation_then_enlargement_then_relu():
    rng, sides = np.random.default_rng(0), [(9, 11), (9, 11), (5, 6), (3, 3), (3, 3)]
    stub = nn.Module()
    stub.pyramid_channels, stub.pyramid_strides = (3, 4, 5, 6, 7), (2, 4, 8, 16, 16)
    network = AffinityNetwork(stub, OPTIONS).eval()
    taps = [rng.standard_normal((depth, *side)) for depth, side in zip(stub.pyramid_channels, sides, strict=True)]
    expected = []
    for (convolution, norm), tap, factor in zip(network.reduce, taps, (1, 1, 2, 4, 4), strict=True):
        norm.weight.data, norm.bias.data = (torch.from_numpy(rng.standard_normal(32)).float() for _ in range(2))
        weight = convolution.weight.detach().numpy()[:, :, 0, 0]
        groups = np.einsum("od,dhw->ohw", weight, tap).reshape(4, -1)
        groups = (groups - groups.mean(1, keepdims=True)) / np.sqrt(groups.var(1, keepdims=True) + 1e-5)
        scale, shift = (part.detach().numpy()[:, None, None] for part in (norm.weight, norm.bias))
        normed = groups.reshape(32, *tap.shape[1:]) * scale + shift
        expected.append(enlarged(normed, factor)[:, :9, :11].clip(0))
    with torch.no_grad():
        joined = network.joined([torch.from_numpy(tap)[None].float() for tap in taps])
    np.testing.assert_allclose(joined[0], np.concatenate(expected), atol=1e-5)


# --- labels and testing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "rows"), [(12, [2, 6, 10]), (13, [2, 6, 10, 12]), (14, [2, 6, 10, 13]), (15, [2, 6, 10, 14]), (1, [0])]
)
def test_a_cell_has_the_label_of_its_middle(side, rows):
    numbers = torch.arange(side * 8).view(1, side, 8)
    assert torch.equal(cell_labels(numbers), numbers[:, rows][..., [2, 6]])
    assert torch.equal(cell_labels(numbers.mT), numbers.mT[:, [2, 6]][..., rows])


def test_the_loss_reads_the_labels_of_the_middles():
    """A label that differs only where no cell has its middle changes nothing; one in the middles does."""
    torch.manual_seed(0)
    network = AffinityNetwork(networks.build("tiny"), SimpleNamespace(radius=3, border="padded")).eval()
    batch = {"image": torch.randn(1, 3, 32, 32), "label": torch.zeros(1, 32, 32, dtype=torch.long)}
    with torch.no_grad():
        loss = network.losses(batch)["affinity"]
        for start, equal in ((0, True), (1, True), (3, True), (2, False)):
            label = torch.zeros(1, 32, 32, dtype=torch.long)
            label[:, start::8, start::8] = 1
            assert (network.losses(batch | {"label": label})["affinity"] == loss) == equal


def test_images_are_tested_on_the_frame_of_the_training():
    """Zeros on the right and below, of the mirrored image too; they count in the normalisation, and larger images keep their size."""
    torch.manual_seed(0)
    network = AffinityNetwork(networks.build("tiny"), OPTIONS).eval()
    image = torch.randn(3, 37, 45)
    framed = torch.zeros(2, 3, 64, 64)
    framed[:, :, :37, :45] = torch.stack([image, image.flip(-1)])
    with torch.inference_mode():
        logits = network(framed)[:, 0, :10, :12]
        edge = edge_map(network, image, 64)
        unframed, cut = edge_map(network, image, 1), edge_map(network, image, 40)
        larger = torch.zeros(2, 3, 40, 45)
        larger[:, :, :37] = framed[:, :, :37, :45]
        one_side = network(larger)[:, 0, :10, :12]
    torch.testing.assert_close(edge, ((logits[0] + logits[1].flip(-1)) / 2).sigmoid())
    torch.testing.assert_close(cut, ((one_side[0] + one_side[1].flip(-1)) / 2).sigmoid())
    assert edge.shape == unframed.shape == (10, 12) and (edge - unframed).abs().max() > 1e-3


# --- groups -----------------------------------------------------------------------------------------------------------


def test_every_layer_of_irn_learns_and_decays_alike():
    network, recipe = affinity("cam_irn"), CONFIG.block("voc", "affinities", "cam_irn").recipe
    groups = parameter_groups(network, recipe)
    assert {(group["lr"], group["weight_decay"]) for group in groups} == {(0.1, 1e-4)}
    moved = {id(parameter) for group in groups for parameter in group["params"]}
    assert moved == {id(p) for n, p in network.named_parameters() if not n.startswith("backbone.")}


def test_affinity_net_s_normalisation_learns_with_the_backbone():
    """On VGG16: its scales as weights, its biases as biases, neither at the rate of the new layers; conv1 and conv2 not at all."""
    network, recipe = affinity("cam_vgg16"), CONFIG.block("voc", "affinities", "cam_vgg16").recipe
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    found = {
        names[id(p)]: (group["lr"] / recipe.learning_rate, group["weight_decay"] > 0)
        for group in parameter_groups(network, recipe)
        for p in group["params"]
    }
    for layer in range(3):
        assert found[f"norm.{layer}.weight"] == found["backbone.fc6.weight"] == (1, True)
        assert found[f"norm.{layer}.bias"] == found["backbone.fc6.bias"] == (2, False)
        assert found[f"reduce.{layer}.weight"] == found["mix.weight"] == (10, True)
    still = set(names.values()) - set(found)
    assert still == {n for n in names.values() if n.startswith(("backbone.conv1_", "backbone.conv2_"))}


def test_irn_s_classifier_learns_from_its_third_stage_on():
    with torch.device("meta"):
        network = classifier("cam_resnet50")
    groups = parameter_groups(network, CONFIG.block("voc", "classifiers", "cam_resnet50").recipe)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.1, 1e-4), (1.0, 1e-4)]
    moved = {id(parameter) for group in groups for parameter in group["params"]}
    stages = {
        name.split(".")[1] for name, p in network.named_parameters() if id(p) in moved and name.startswith("back")
    }
    assert stages == {"layer3", "layer4"}


def test_scales_of_batch_normalisation_do_not_decay():
    """Ours: no paper here trains them."""
    network = classifier("cam", ["cat"])
    network.backbone.bn = nn.BatchNorm2d(4)
    groups = parameter_groups(network, CONFIG.block("voc", "classifiers", "cam").recipe)
    where = [group for group in groups if any(p is network.backbone.bn.weight for p in group["params"])]
    assert [group["weight_decay"] for group in where] == [0]


# --- the authors' file ------------------------------------------------------------------------------------------------


def irn_file() -> dict[str, torch.Tensor]:
    """Names of `res50_irn.pth`: layers under two or three names each, the displacement field, tables of indices."""
    with torch.device("meta"):
        resnet = resnet50(weights=None)
        del resnet.fc
        stem = nn.Sequential(resnet.conv1, resnet.bn1, resnet.relu, resnet.maxpool)
        stages = [
            stem,
            *(nn.Sequential(layer) for layer in (resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4)),
        ]
        edges = [
            nn.Sequential(nn.Conv2d(width, 32, 1, bias=False), nn.GroupNorm(4, 32))
            for width in (64, 256, 512, 1024, 2048)
        ]
        edges.append(nn.Conv2d(160, 1, 1))
        fields = [nn.Sequential(nn.Conv2d(64, 64, 1, bias=False), nn.GroupNorm(8, 64)) for _ in range(7)]
        whole = nn.Module()
        whole.resnet50 = resnet
        for number, stage in enumerate(stages, start=1):
            whole.add_module(f"stage{number}", stage)
        for kind, layers in (("edge", edges), ("dp", fields)):
            for number, layer in enumerate(layers, start=1):
                whole.add_module(f"fc_{kind}{number}", layer)
            whole.add_module(f"{kind}_layers", nn.ModuleList(layers))
        whole.backbone = nn.ModuleList(stages)
        tables = {"mean_shift.running_mean": (2,), "path_indices0": (2, 2, 9), "disp_target": (1, 2, 152, 1)}
        return whole.state_dict() | {name: torch.zeros(shape) for name, shape in tables.items()}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_irn_s_file_fits_whole(prefix, capsys):
    state, network = {prefix + name: value for name, value in irn_file().items()}, affinity("cam_irn_resnet50")
    found = of_network(network, state, "res50_irn.pth")
    assert set(found) == set(network.state_dict())
    load_strictly(network, found, "res50_irn.pth")
    assert found["head.weight"] is state[f"{prefix}fc_edge6.weight"]
    assert found["reduce.3.0.weight"] is state[f"{prefix}fc_edge4.0.weight"]
    assert found["backbone.layer3.2.conv1.weight"] is state[f"{prefix}resnet50.layer3.2.conv1.weight"]
    left = capsys.readouterr().out
    assert "fc_dp1.0.weight" in left and "stage1.0.weight" in left and "resnet50" not in left and "fc_edge" not in left


def test_irn_s_files_give_their_backbone(capsys):
    network = affinity("cam_irn_resnet50").backbone
    found = of_backbone(network, irn_file(), "res50_irn.pth")
    assert set(found) == set(network.state_dict())
    assert "fc_edge6.weight" in capsys.readouterr().out


def test_irn_s_classifier_fits_whole():
    """`res50_cam.pth`: the classifier twice, too."""
    extra = {f"{name}.weight": torch.zeros(20, 2048, 1, 1, device="meta") for name in ("classifier", "newly_added.0")}
    parts = {n: v for n, v in irn_file().items() if n.startswith(("resnet50.", "stage", "backbone."))} | extra
    with torch.device("meta"):
        network = classifier("cam_resnet50")
    found = of_network(network, parts, "res50_cam.pth")
    assert set(found) == set(network.state_dict()) and found["head.weight"] is parts["classifier.weight"]


def test_other_files_are_refused_by_name(tmp_path):
    path = tmp_path / "res50.pth"
    torch.save({n: torch.zeros(()).expand(v.shape) for n, v in resnet50(weights=None).state_dict().items()}, path)
    network = affinity("cam_irn_resnet50")
    refused(lambda: load_trained(network, path), path, "weights of another network", "missing: reduce.0.0.weight")
    torch.save({n: torch.zeros(()).expand(v.shape) for n, v in irn_file().items()}, path)
    for build in ("cam_irn", "cam_vgg16"):
        other = affinity(build)
        refused(lambda network=other: load_trained(network, path), path, "weights of another network")
    caffe = networks.build("resnet", depth=50, stride=16, stride_in="first", colours="torch")
    refused(lambda: load_initial(caffe, str(path)), "resnet50.conv1.weight", "stride_in: middle", "torch and first")


# --- the configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        (
            {"form": "deeplab"},
            "affinities.cam_irn_resnet50.backbone.form: network 'irn' joins maps of resnet as 'irn', found",
        ),
        ({"form": None}, "backbone.form: network 'irn' joins maps of resnet as 'irn', found 'deeplab'; set irn"),
        ({"form": "psa"}, "affinities.cam_irn_resnet50"),
    ],
)
def test_forms_that_irn_does_not_join_are_refused(raw, changes, fragment):
    for key, value in changes.items():
        put(raw, f"affinities.cam_irn_resnet50.backbone.{key}", value)
    if changes["form"] is None:
        del raw["affinities"]["cam_irn_resnet50"]["backbone"]["form"]
    refused(lambda: Config(raw), fragment)


@pytest.mark.parametrize("wrong", [{"stride": 8}, {"stride": 32}, {"stride_in": "first"}])
def test_irn_s_resnet_has_one_stride(wrong):
    options = {"depth": 50, "stride": 16, "stride_in": "middle", "form": "irn"} | wrong
    refused(lambda: networks.build("resnet", **options), "as 'irn' has stride 16 and stride_in: middle, not")


def test_published_defaults():
    """The frame is the training crop, as in IRN's code, wherever IRN is configured."""
    for dataset, mask in (("voc", "cam_irn"), ("voc", "cam_irn_resnet50"), ("demo", "cam_irn")):
        block = CONFIG.block(dataset, "masks", mask)
        assert block.frame == CONFIG.block(dataset, "affinities", block.affinity).recipe.crop
    assert CONFIG.block("voc", "masks", "cam_irn").frame == 512
