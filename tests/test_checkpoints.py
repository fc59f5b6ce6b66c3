"""Checkpoints of other authors: their names, written out after their code, fit our networks whole; what does not is named."""

import math
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
import yaml
from conftest import python, refused, run
from demo_graph import demo, named
from safetensors.torch import load_file
from test_published_networks import affinity, classifier, segmenter
from torch import nn

from workflow_scripts import networks
from workflow_scripts.base.digests import file_sha256
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.planning.rules import Rules
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.checkpoints.layer_names import of_backbone, of_network
from workflow_scripts.data.checkpoints.weights import load_initial, load_strictly, load_trained, save_weights
from workflow_scripts.segmentation import large_fov

# PyTorch counts batches where an old checkpoint did not, on the CPU even where the network has no memory.
pytestmark = pytest.mark.filterwarnings("ignore:.*num_batches_tracked. copying from a non-meta:UserWarning")

State = dict[str, torch.Tensor]


def layer(name: str, *shape: int, bias: bool = False) -> State:
    state = {f"{name}.weight": torch.zeros(shape, device="meta")}
    return state | ({f"{name}.bias": torch.zeros(shape[0], device="meta")} if bias else {})


def norm(name: str, channels: int, old: bool = False) -> State:
    parts = ("weight", "bias", "running_mean", "running_var")
    counted = {} if old else {f"{name}.num_batches_tracked": torch.zeros((), dtype=torch.long, device="meta")}
    return {f"{name}.{part}": torch.zeros(channels, device="meta") for part in parts} | counted


# --- the layouts, as their authors' code has them ---------------------------------------------------------------------


def resnet38(old: bool = True) -> State:
    """PSA's resnet38d, which EPS, SEAM and MCTformer took over; before PyTorch 0.4.1 no batches were counted."""
    state = layer("conv1a", 64, 3, 3, 3)
    plan = [("b2", 64, 128, 128), ("b2_1", 128, 128, 128), ("b2_2", 128, 128, 128)]
    plan += [("b3", 128, 256, 256), ("b3_1", 256, 256, 256), ("b3_2", 256, 256, 256), ("b4", 256, 512, 512)]
    plan += [(f"b4_{number}", 512, 512, 512) for number in (1, 2, 3, 4, 5)]
    plan += [("b5", 512, 512, 1024), ("b5_1", 1024, 512, 1024), ("b5_2", 1024, 512, 1024)]
    for name, inputs, middle, outputs in plan:
        state |= norm(f"{name}.bn_branch2a", inputs, old) | layer(f"{name}.conv_branch2a", middle, inputs, 3, 3)
        state |= norm(f"{name}.bn_branch2b1", middle, old) | layer(f"{name}.conv_branch2b1", outputs, middle, 3, 3)
        if "_" not in name:
            state |= layer(f"{name}.conv_branch1", outputs, inputs, 1, 1)
    for name, inputs, outputs in (("b6", 1024, 2048), ("b7", 2048, 4096)):
        quarter, half = outputs // 4, outputs // 2
        state |= norm(f"{name}.bn_branch2a", inputs, old) | layer(f"{name}.conv_branch2a", quarter, inputs, 1, 1)
        state |= norm(f"{name}.bn_branch2b1", quarter, old) | layer(f"{name}.conv_branch2b1", half, quarter, 3, 3)
        state |= norm(f"{name}.bn_branch2b2", half, old) | layer(f"{name}.conv_branch2b2", outputs, half, 1, 1)
        state |= layer(f"{name}.conv_branch1", outputs, inputs, 1, 1)
    return state | norm("bn7", 4096, old)


def vgg16() -> State:
    """caffe's names, as PSA's vgg16d and the converted vgg16_20M have them."""
    sides = "1_1 3 64, 1_2 64 64, 2_1 64 128, 2_2 128 128, 3_1 128 256, 3_2 256 256, 3_3 256 256, 4_1 256 512"
    sides += ", 4_2 512 512, 4_3 512 512, 5_1 512 512, 5_2 512 512, 5_3 512 512"
    state: State = {}
    for name, inputs, outputs in (part.split() for part in sides.split(", ")):
        state |= layer(f"conv{name}", int(outputs), int(inputs), 3, 3, bias=True)
    return state | layer("fc6", 1024, 512, 3, 3, bias=True) | layer("fc7", 1024, 1024, 1, 1, bias=True)


def torchvision_vgg16() -> State:
    numbers = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    convolutions = [(n, v) for n, v in vgg16().items() if n.startswith("conv")]
    state = {
        f"features.{numbers[place // 2]}.{name.rpartition('.')[2]}": value
        for place, (name, value) in enumerate(convolutions)
    }
    return state | layer("classifier.0", 4096, 25088, bias=True)


def deeplab_resnet101(prefix: str = "", shortcut: str = "shortcut") -> State:
    """deeplab-pytorch: MSRA's bottlenecks; `base.` with its wrapper for several scales, in older files `scale.` and `proj`."""

    def unit(name: str, outputs: int, inputs: int, kernel: int) -> State:
        return layer(f"{name}.conv", outputs, inputs, kernel, kernel) | norm(f"{name}.bn", outputs)

    state = unit(f"{prefix}layer1.conv1", 64, 3, 7)
    inputs = 64
    for stage, (blocks, outputs) in enumerate([(3, 256), (4, 512), (23, 1024), (3, 2048)], start=2):
        for block in range(1, blocks + 1):
            name = f"{prefix}layer{stage}.block{block}"
            state |= unit(f"{name}.reduce", outputs // 4, inputs, 1)
            state |= unit(f"{name}.conv3x3", outputs // 4, outputs // 4, 3)
            state |= unit(f"{name}.increase", outputs, outputs // 4, 1)
            if block == 1:
                state |= unit(f"{name}.{shortcut}", outputs, inputs, 1)
            inputs = outputs
    return state


def aspp(name: str) -> State:
    return {n: v for number in range(4) for n, v in layer(f"{name}{number}", 21, 2048, 3, 3, bias=True).items()}


def group_norm(name: str, channels: int) -> State:
    return {f"{name}.{part}": torch.zeros(channels, device="meta") for part in ("weight", "bias")}


def affinity_heads(inputs: tuple[int, int, int]) -> State:
    state: State = {}
    for number, (before, after) in enumerate(zip(inputs, (64, 128, 256), strict=True), start=3):
        state |= layer(f"f8_{number}", after, before, 1, 1)
    return state | layer("f9", 448, 448, 1, 1)


def caffe(name: str) -> nn.Module:
    """A segmentation network of the configuration on caffe's colours and strides."""
    network = segmenter(name)
    network.backbone.colours.kind, network.backbone.stride_in = "caffe", "first"
    return network


WHOLE = {
    "PSA, EPS baseline": (lambda: classifier("cam_resnet38"), resnet38() | layer("fc8", 20, 4096, 1, 1)),
    "EPS": (lambda: classifier("eps_resnet38"), resnet38(old=False) | layer("fc8", 21, 4096, 1, 1)),
    "PSA, VGG16": (lambda: classifier("cam_vgg16"), vgg16() | layer("fc8", 20, 1024, 1, 1)),
    "PSA, SEAM affinity": (lambda: affinity("cam_resnet38"), resnet38() | affinity_heads((512, 1024, 4096))),
    "PSA affinity, VGG16": (
        lambda: affinity("cam_vgg16"),
        vgg16()
        | affinity_heads((512, 512, 1024))
        | group_norm("gn8_3", 64)
        | group_norm("gn8_4", 128)
        | group_norm("gn8_5", 256),
    ),
    "MCTformer segmentation": (
        lambda: segmenter("deeplab_v1_resnet38"),
        resnet38()
        | layer("fc8_seg_conv1", 512, 4096, 3, 3, bias=True)
        | layer("fc8_seg_conv2", 21, 512, 3, 3, bias=True),
    ),
    "BANA": (
        lambda: classifier("bana_vgg16"),
        {f"backbone.{name}": value for name, value in vgg16().items()} | layer("classifier", 21, 1024, 1, 1),
    ),
    "BANA, segmentation on VGG16": (
        lambda: segmenter("bana_vgg16"),
        {f"backbone.{name}": value for name, value in vgg16().items()} | layer("classifier", 21, 1024, 1, 1),
    ),
    "BANA, segmentation on ResNet-101": (
        lambda: caffe("bana_resnet101"),
        deeplab_resnet101("backbone.")
        | {n: v for number in range(1, 5) for n, v in layer(f"c{number}", 256, 2048, 3, 3).items()}
        | layer("classifier", 21, 256, 1, 1),
    ),
    "deeplab-pytorch": (lambda: caffe("deeplab_v2_resnet101"), deeplab_resnet101("base.") | aspp("base.aspp.c")),
    "deeplab-pytorch, older": (
        lambda: caffe("deeplab_v2_resnet101"),
        deeplab_resnet101("scale.", "proj") | aspp("scale.aspp.stages.c"),
    ),
}


@pytest.mark.parametrize(("build", "state"), WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_whole_checkpoints_fit(build, state, prefix, capsys):
    with torch.device("meta"):
        network = build()
    foreign = {prefix + name: value for name, value in state.items()}
    found = of_network(network, foreign, "net.pth")
    assert len(found) == len(foreign) and set(found) <= set(network.state_dict())
    load_strictly(network, found, "net.pth")
    assert not capsys.readouterr().out


def backbone(name: str, **options) -> nn.Module:
    with torch.device("meta"):
        return networks.build(name, **options)


PARTS = {  # backbone, checkpoint, layers that are left out
    "PSA": (("resnet38", {}), resnet38() | layer("fc8", 20, 4096, 1, 1), ["fc8.weight"]),
    "SEAM": (
        ("resnet38", {}),
        resnet38() | layer("fc8", 21, 4096, 1, 1) | layer("f8_3", 64, 512, 1, 1) | layer("f9", 192, 195, 1, 1),
        ["fc8.weight", "f8_3.weight", "f9.weight"],
    ),
    "vgg16_20M": (("vgg16", {"form": "large_fov"}), vgg16(), []),
    "vgg16_20M for DeepLab-V2": (
        ("vgg16", {"form": "aspp"}),
        vgg16(),
        ["fc6.weight", "fc6.bias", "fc7.weight", "fc7.bias"],
    ),
    "BANA": (
        ("vgg16", {"form": "large_fov", "fc6_dilation": 1}),
        {f"backbone.{name}": value for name, value in vgg16().items()} | layer("classifier", 21, 1024, 1, 1),
        ["classifier.weight"],
    ),
    "BANA, ResNet-101": (
        ("resnet", {"depth": 101, "colours": "caffe"}),
        deeplab_resnet101("backbone.") | layer("c1", 256, 2048, 3, 3) | layer("classifier", 21, 256, 1, 1),
        ["c1.weight", "classifier.weight"],
    ),
    "deeplab-pytorch, COCO": (
        ("resnet", {"depth": 101, "colours": "caffe"}),
        deeplab_resnet101() | layer("fc", 91, 2048, 1, 1, bias=True),
        ["fc.weight", "fc.bias"],
    ),
    "torchvision, VGG16 for DeepLab-V2": (
        ("vgg16", {"form": "aspp", "colours": "torch"}),
        torchvision_vgg16(),
        ["classifier.0.weight", "classifier.0.bias"],
    ),
}


@pytest.mark.parametrize(("build", "state", "heads"), PARTS.values(), ids=PARTS)
def test_backbones_take_their_part_and_name_what_they_leave(build, state, heads, capsys):
    network = backbone(build[0], **build[1])
    load_strictly(network, of_backbone(network, state, "net.pth"), "net.pth")
    left = f"net.pth: left out, as the network has no such layers: {', '.join(heads)}\n" if heads else ""
    assert capsys.readouterr().out == left


def test_fc6_and_fc7_start_at_random_from_torchvision_alone(tmp_path, capsys):
    network, path = backbone("vgg16", form="psa"), tmp_path / "vgg16.pth"
    torch.save({name: torch.zeros(value.shape) for name, value in torchvision_vgg16().items()
                if "classifier" not in name}, path)  # fmt: skip
    load_initial(network.to_empty(device="cpu"), str(path))
    assert "has no fc6.weight, fc6.bias, fc7.weight, fc7.bias; they start at random" in capsys.readouterr().out
    state = {name: value for name, value in vgg16().items() if not name.startswith("fc6")}
    refused(lambda: load_strictly(network, of_backbone(network, state, "x"), "x"), "missing: fc6.weight, fc6.bias")


def test_weights_for_other_colours_are_refused():
    network = backbone("resnet", depth=101, colours="torch")
    refused(lambda: of_backbone(network, deeplab_resnet101(), "x"), "colours: caffe", "found torch and first")


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small() -> nn.Module:
    options = SimpleNamespace(hidden=8, dropout=0, score_kernel=3, dilation=2)
    return large_fov.Segmenter(networks.build("tiny"), 3, options)


def foreign(state: State) -> State:
    """The names that MCTformer's code would give the small network."""
    rules = {"backbone.": "", "context.": "fc8_seg_conv1.", "head.": "fc8_seg_conv2."}
    renamed = {}
    for name, value in state.items():
        old, new = next((old, new) for old, new in rules.items() if name.startswith(old))
        renamed[new + name.removeprefix(old)] = value.clone()
    return renamed


FORMS = {
    "plain": lambda state: state,
    "half": lambda state: {n: v.half() if v.is_floating_point() else v for n, v in state.items()},
    "data parallel": lambda state: {f"module.{n}": v for n, v in state.items()},
    "state_dict": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"state": {0: torch.zeros(2)}}},
    "model": lambda state: {"model": state, "args": "none"},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("legacy", [False, True])
def test_forms_of_files(small, tmp_path, form, legacy):
    for value in small.state_dict().values():
        value.copy_(torch.randint(-8, 8, value.shape))  # kept by half precision
    wanted = {name: value.clone() for name, value in small.state_dict().items()}
    path = tmp_path / "net.pth"
    torch.save(FORMS[form](foreign(wanted)), path, _use_new_zipfile_serialization=not legacy)
    for parameter in small.parameters():
        nn.init.constant_(parameter, math.nan)
    load_trained(small, path)
    for name, value in wanted.items():
        assert torch.equal(small.state_dict()[name], value) and small.state_dict()[name].dtype == value.dtype, name


def test_every_layer_that_does_not_fit_is_named(small, tmp_path, capsys):
    state, path = foreign(small.state_dict()), tmp_path / "net.pth"
    del state["stem.weight"], state["layers.0.first.weight"], state["layers.1.first.weight"], state["stem_norm.bias"]
    state |= {"fc9.weight": torch.zeros(1), "fc8_seg_conv2.weight": torch.zeros(21, 8, 3, 3)}
    torch.save(state, path)
    before = {name: value.clone() for name, value in small.state_dict().items()}
    message = refused(lambda: load_trained(small, path), path, "and 1 more", "unknown: fc9.weight")
    assert "of another shape: head.weight (21x8x3x3, expected 3x8x3x3)" in message
    log = capsys.readouterr().out
    gone = ("stem.weight", "stem_norm.bias", "layers.0.first.weight", "layers.1.first.weight")
    assert all(f"backbone.{name}" in log for name in gone)
    assert all(torch.equal(value, before[name]) for name, value in small.state_dict().items())


def test_two_layers_of_one_name_are_refused(small, tmp_path):
    state = foreign(small.state_dict())
    torch.save(state | {"head.bias": state["fc8_seg_conv2.bias"]}, tmp_path / "net.pth")
    refused(lambda: load_trained(small, tmp_path / "net.pth"), "fc8_seg_conv2.bias and head.bias", "keep one")


def test_a_whole_network_of_ours_gives_its_backbone(small, tmp_path, capsys):
    save_weights(small, tmp_path / "net.safetensors")
    own = networks.build("tiny")
    load_initial(own, str(tmp_path / "net.safetensors"))
    assert torch.equal(own.stem.weight, small.backbone.stem.weight)
    assert "left out" in capsys.readouterr().out


# --- in the workflow --------------------------------------------------------------------------------------------------


def renamed_results(folder) -> Iterator[tuple[str, State]]:
    """The demo's own trained networks with their authors' names."""
    results = folder / "results/demo/seed-0"
    heads = {
        "classifiers/eps": {"head.": "fc8."},
        "affinities/cam": {f"reduce.{n}.": f"f8_{n + 3}." for n in range(3)} | {"mix.": "f9."},
        "segmenters/eps/large_fov": {"context.": "fc8_seg_conv1.", "head.": "fc8_seg_conv2."},
    }
    for path, rules in heads.items():
        state = load_file(results / f"{path}.safetensors")
        yield (
            path.partition("/")[0],
            {
                next((new + n.removeprefix(old) for old, new in rules.items() if n.startswith(old)), n).removeprefix(
                    "backbone."
                ): value
                for n, value in state.items()
            },
        )


def test_trained_networks_are_taken_over(clone, overlay):
    """Networks of our own under their authors' names, fed back in: the same weights, the same maps, masks and predictions."""
    blocks = {"classifiers": "eps", "affinities": "cam", "segmenters": "large_fov"}
    change: dict = {}
    for kind, state in renamed_results(clone):
        file = clone / f"{kind}.pth"
        torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, file)
        change[kind] = {blocks[kind]: {"trained": f"{kind}.pth"}}
    change["classifiers"]["eps"]["trained"] = {
        "url": (clone / "classifiers.pth").as_uri(),
        "sha256": file_sha256(clone / "classifiers.pth"),
    }
    configuration = overlay(demo(**change))
    made = [
        "classifiers/eps.safetensors",
        "affinities/cam.safetensors",
        "segmenters/eps/large_fov.safetensors",
        "cams/eps.h5",
        "masks/cam_affinity.h5",
        "predictions/eps/large_fov/single.h5",
    ]
    targets = [f"results/demo/seed-0/{name}" for name in made]
    before = {name: (clone / name).read_bytes() for name in targets}
    for name in targets:
        (clone / name).unlink()
    files = ["config.yaml", "tests/small.yaml", configuration]
    done = run(clone, *targets, "results/demo/pictures/curves.png", configfiles=files)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {name: (clone / name).read_bytes() for name in targets} == before
    curve = clone / "results/demo/seed-0/classifiers/eps.curve.csv"
    assert curve.read_text() == "iteration,learning_rate\n"
    told = python(clone, "-m", "workflow_scripts", "inspect", curve)
    assert "not trained here" in told.stdout
    drawn = python(clone, "-m", "workflow_scripts", "inspect", targets[0], "--out", "x.png")
    assert drawn.returncode == 0 and (clone / "x.png").exists(), drawn.stderr


def test_jobs_of_trained_networks_need_neither_images_nor_labels(raw):
    raw["classifiers"]["eps_resnet38"]["trained"] = "data/weights/eps.pth"
    raw["affinities"]["eps_resnet38"]["trained"] = "data/weights/aff.pth"
    raw["segmenters"]["deeplab_v2_resnet101"]["trained"] = "data/weights/seg.pth"
    raw["datasets"]["voc"]["systems"] = ["eps_affinity_resnet38_v2"]
    plan = Plan(Config(raw))
    jobs = named((stage, "/".join(v for k, v in names.items() if k != "dataset")) for stage, names in plan.jobs("voc"))
    assert not {job.split()[0] for job in jobs} & {"saliency", "score_saliency", "affinity_labels"}
    for stage, names in (
        ("train_classifier", {"classifier": "eps_resnet38"}),
        ("train_affinity", {"affinity": "eps_resnet38"}),
        ("train_segmenter", {"mask": "eps_affinity_resnet38", "segmenter": "deeplab_v2_resnet101"}),
    ):
        wildcards = {"dataset": "voc", "seed": "0", **names}
        job = plan.job(stage, wildcards)
        assert not any(job.inputs.values())
        assert "recipe" not in job.settings["block"] and job.settings["initial_digest"]
        assert Rules(raw).gpus(stage)(Wildcards(wildcards)) == 0
    assert plan.job("masks", {"dataset": "voc", "seed": "0", "mask": "eps_affinity_resnet38"}).settings["splits"] == [
        "train"
    ]
    assert plan.job("curves", {"dataset": "voc"}).inputs["curves"] == []


class Wildcards(dict):
    """As Snakemake's: names as keys and as attributes."""

    __getattr__ = dict.__getitem__


def test_training_jobs_do_not_know_the_key(raw):
    settings = Plan(Config(raw)).settings("train_classifier", {"dataset": "voc", "seed": "0", "classifier": "eps"})
    assert "trained" not in yaml.safe_load(settings)["block"]
