"""Weights, features, maps and images in, numbers of the published code out: MCTformer, PSA, IRN's walk, test pyramids."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import refused
from golden_numbers import FOLDER, assert_near, golden
from torch import Tensor, nn
from torch.nn.functional import interpolate
from training_set import namespace

from workflow_scripts import methods
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.checkpoints.weights import load_initial, load_trained, load_weights, read_state
from workflow_scripts.data.maps import normalised, to_label
from workflow_scripts.data.transforms import normalise
from workflow_scripts.methods import cam
from workflow_scripts.methods.cam import class_activation_maps
from workflow_scripts.methods.mctformer import class_to_patch, patch_to_patch
from workflow_scripts.networks.colours import Colours
from workflow_scripts.refine.edge_walk_mask import walked_maps
from workflow_scripts.refine.random_walk import propagate_along_edges
from workflow_scripts.run.command import Job
from workflow_scripts.segmentation import cosine, large_fov
from workflow_scripts.segmentation.inference import merged_scores, soft_prediction
from workflow_scripts.stages import cams, train_classifier

# --- MCTformer --------------------------------------------------------------------------------------------------------

CHECKPOINTS = sorted(path.stem.removeprefix("mctformer_") for path in FOLDER.glob("mctformer_*.pth"))
HEADS, PATCH = 3, 16  # of the toy networks; nothing in a checkpoint tells the heads


def shipped(kind: str, name: str, **changes) -> SimpleNamespace:
    """A block of the shipped configuration, as its stage is given it."""
    return namespace(Config.load().block("voc", kind, name).model_dump() | changes)


def block_of(checkpoint: str, **backbone) -> SimpleNamespace:
    """The classifier that an authors' checkpoint is of."""
    state = read_state(FOLDER / f"mctformer_{checkpoint}.pth")
    depth = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("blocks."))
    grid = round((state["pos_embed"].shape[1] - state["cls_token"].shape[1]) ** 0.5)
    network = {"name": "vision_transformer", "patch": PATCH, "width": state["cls_token"].shape[2], "depth": depth}
    network |= {"heads": HEADS, "grid": grid, "drop_path": 0.0, "stem": "linear"} | backbone
    return namespace({"method": "mctformer", "backbone": network, "options": {"version": checkpoint.split("_")[0]}})


def names_of(checkpoint: str) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(int(checkpoint.rpartition("_")[2])))


@pytest.fixture(params=CHECKPOINTS)
def taken_over(request, tmp_path) -> tuple[str, nn.Module]:
    """A network that the training's stage has taken over from its authors' checkpoint, as the stage of maps reads it."""
    block, classes = block_of(request.param), names_of(request.param)
    block.trained = str(FOLDER / f"mctformer_{request.param}.pth")
    outputs = SimpleNamespace(weights=tmp_path / "mct.safetensors", curve=tmp_path / "mct.csv")
    settings = SimpleNamespace(block=block, classes=classes)
    train_classifier.main(Job(settings, SimpleNamespace(initial=None), outputs, 1, ""))
    network = methods.build(block, classes)
    load_weights(network, outputs.weights)
    return request.param, network.eval()


def maps_of(network: nn.Module, image: np.ndarray, labels: np.ndarray, block: SimpleNamespace) -> np.ndarray:
    """What the stage of maps stores of an image, of the classes that it is labelled with."""
    index = SimpleNamespace(labels=labels[None], row={"x": 0}, classes_of=lambda identifier: np.flatnonzero(labels))
    images = SimpleNamespace(read=lambda identifier: image, index=index)
    state = cams.State(network, images, block, torch.device("cpu"), cams.map_options(block))
    return cams.maps_of(state, "x")["scores"]


def test_released_mctformers_give_the_published_attention_and_maps(taken_over):
    (name, network), given = taken_over, golden("mctformer.npz")
    count, depth = len(given[f"{name}.labels"]), len(network.backbone.blocks)
    pictures = {key.partition(".")[2]: value for key, value in given.items() if key.startswith("image.")}
    assert pictures
    for size, image in pictures.items():
        with torch.inference_mode():
            tensor = normalise(image)[None]
            tokens = network.backbone(tensor, attention=True)
            cells = tokens.patches.shape[-2:]
            found = {
                "class_logits": network.class_logits(tensor)[0],
                "class_attention": class_to_patch(tokens.attention, count)[0].unflatten(1, cells),
                "patch_attention": tokens.attention[:, 0, count:, count:],
            }
            if network.head is not None:
                patch_maps = network.head(tokens.patches)[0]
                found |= {"patch_logits": patch_maps.mean(dim=(1, 2)), "patch_maps": patch_maps.relu()}
                found["fused_maps"] = found["class_attention"] * found["patch_maps"]
        between = patch_to_patch(tokens.attention, count)[0]
        assert_near(between, given[f"{name}.{size}.patch_attention"].sum(axis=0), 2e-4)
        for refined, key in ((False, "maps"), (True, "maps_refined")):
            block = shipped("cams", "mctformer", resolution=1)
            block.attention.patch_to_patch, block.attention.patch_layers = refined, depth
            found[key] = maps_of(network, image, given[f"{name}.labels"], block)
        wanted = {key.rpartition(".")[2] for key in given if key.startswith(f"{name}.{size}.")}
        assert wanted <= found.keys()
        for key in wanted:
            tolerance = 2e-3 if key.startswith("maps") else 2e-4
            assert_near(found[key], given[f"{name}.{size}.{key}"], tolerance)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_released_mctformers_are_initial_weights_of_as_many_classes(name):
    path, classes = FOLDER / f"mctformer_{name}.pth", names_of(name)
    state, count = read_state(path), len(classes)
    patches = state["pos_embed"][:, count:]
    side = round(patches.shape[1] ** 0.5)
    for grid in (side, side + 2):
        network = methods.build(block_of(name, grid=grid), classes)
        load_initial(network.backbone, str(path))
        own = network.backbone.state_dict()
        assert torch.equal(own["cls_token"], state["cls_token"])
        assert torch.equal(own["pos_embed_cls"], state["pos_embed"][:, :count])
        table = patches.transpose(1, 2).unflatten(2, (side, side))
        table = table if grid == side else interpolate(table, size=(grid, grid), mode="bicubic")
        torch.testing.assert_close(own["pos_embed_pat"], table.flatten(2).transpose(1, 2))
        assert torch.equal(own["blocks.1.attn.qkv.weight"], state["blocks.1.attn.qkv.weight"])
    other = methods.build(block_of(name), (*classes, "one more"))
    wanted = f"cls_token (1x{count}x"
    refused(lambda: load_initial(other.backbone, str(path)), path, wanted, f"expected 1x{count + 1}x")
    refused(lambda: load_trained(other, path), path, wanted)


# --- PSA --------------------------------------------------------------------------------------------------------------


class Given(nn.Module):
    """A backbone that answers with features that were made before, one pass after another."""

    stride = 8

    def __init__(self, features: list[Tensor]):
        super().__init__()
        self.features, self.channels = list(features), features[0].shape[1]

    def forward(self, images: Tensor) -> Tensor:
        return self.features.pop(0)


@pytest.mark.parametrize("network", ["vgg16", "resnet38"])
def test_maps_of_psa(network):
    given = golden("psa_vgg16_maps.npz")
    features = [torch.from_numpy(given[f"features.{number}"])[None] for number in range(2 * len(given["scales"]))]
    weight, labels = torch.from_numpy(given["weight"]), given["labels"]
    block = shipped("cams", f"cam_{network}", scales=given["scales"].tolist(), resolution=1)
    assert block.square_root == (network == "vgg16")
    for number in (0, 1):
        found = class_activation_maps(features[number], weight, block.square_root)[0]
        assert_near(found, given[f"{network}.maps.{number}"], 1e-5)

    def classifier() -> nn.Module:
        made = cam.Classifier(Given(features), [""] * len(labels), SimpleNamespace(dropout=0.5))
        made.head.weight.data = weight[:, :, None, None]
        return made.eval()

    image = np.zeros((*given["image_size"], 3), np.uint8)
    stored = maps_of(classifier(), image, labels, block).astype(np.float32)
    assert_near(normalised(stored), given[f"{network}.merged"], 2e-3)
    logits = classifier().class_logits(features[0])[0].detach()
    assert_near(logits, given["vgg16.class_logits.0"], 1e-5)


@pytest.mark.parametrize("square_root", [True, False])
def test_roots_are_taken_of_the_features_maps_before_they_are_enlarged_and_added(square_root):
    size, labels = (21, 34), np.array([0, 1, 0, 1], np.float32)
    random = torch.Generator().manual_seed(0)
    shapes = [(3, 5), (3, 5), (6, 9), (6, 9)]
    features = [torch.rand(1, 5, *shape, generator=random) for shape in shapes]
    network = cam.Classifier(Given(features), [""] * 4, SimpleNamespace(dropout=0.5)).eval()
    nn.init.normal_(network.head.weight, generator=random)
    block = shipped("cams", "cam", scales=[1, 2], flip=True, resolution=1, square_root=square_root)
    added = 0
    for number, one in enumerate(features):
        maps = nn.functional.conv2d(one, network.head.weight).relu().detach()[:, labels > 0]
        maps = interpolate(maps.sqrt() if square_root else maps, size=size, mode="bilinear")
        added = added + (maps.flip(-1) if number % 2 else maps)
    found = maps_of(network, np.zeros((*size, 3), np.uint8), labels, block)
    assert_near(found.astype(np.float32), (added[0] / 4).numpy(), 1e-3)


# --- IRN's walk -------------------------------------------------------------------------------------------------------


def test_walks_of_irn():
    given = golden("irn_walk.npz")
    cases = sorted({key.partition(".")[0] for key in given if "." in key})
    assert cases
    for case in cases:
        maps, edge = (torch.from_numpy(given[f"{case}.{key}"]) for key in ("maps", "edge"))
        size = tuple(given[f"{case}.image_size"].tolist())
        assert_near(propagate_along_edges(maps, edge), given[f"{case}.walked"], 1e-5)
        full = walked_maps(maps, edge, size).numpy()
        assert_near(full, given[f"{case}.full"], 1e-5)
        stack = np.pad(full, ((1, 0), (0, 0), (0, 0)), constant_values=given["threshold"])
        label = to_label(stack, given[f"{case}.keys"][1:] - 1)
        assert (label != given[f"{case}.label"]).mean() < 1e-3


# --- test pyramids ----------------------------------------------------------------------------------------------------


class Cells(nn.Module):
    """One layer of stride 8 behind the colours that it was made for."""

    stride, channels = 8, 6

    def __init__(self, colours: str, given: dict[str, np.ndarray]):
        super().__init__()
        self.colours = Colours(colours)
        weight = torch.from_numpy(given[f"first_weight_{colours}"])
        self.channels = len(weight)
        self.layer = nn.Conv2d(3, len(weight), weight.shape[-1], 8, weight.shape[-1] // 2)
        self.layer.weight.data, self.layer.bias.data = weight, torch.from_numpy(given["first_bias"])

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(self.colours(images)).relu()


def segmenter(kind: str, given: dict[str, np.ndarray]) -> nn.Module:
    backbone, labels = Cells("torch" if kind == "mctformer" else "caffe", given), len(given["head_bias"])
    if kind == "bana":
        options = SimpleNamespace(hidden=None, dilations=(), dropout=0, scale=float(given["bana.temperature"]))
        network = cosine.Segmenter(backbone, labels, options)
    else:
        options = SimpleNamespace(hidden=None, dropout=0, score_kernel=1, dilation=1)
        network = large_fov.Segmenter(backbone, labels, options)
        network.head.bias.data = torch.from_numpy(given["head_bias"])
    network.head.weight.data = torch.from_numpy(given["head_weight"])
    return network.eval()


@pytest.mark.parametrize(("kind", "name"), [("deeplab", "multi"), ("bana", "bana_published"), ("mctformer", "five")])
def test_pyramids_of_the_published_code(kind, name):
    given = golden("pyramids.npz")
    block = shipped(
        "predictions", name, resolution=1, scales=[round(float(scale), 6) for scale in given[f"{kind}.scales"]]
    )
    network, image = segmenter(kind, given), given["image"]
    if kind == "deeplab":
        with torch.inference_mode():
            assert_near(network(normalise(image)[None])[0], given["deeplab.single"], 1e-4)
        assert_near(merged_scores(network, image, block)[0], given["deeplab.logits"], 1e-4)
    elif kind == "bana":
        cosines = merged_scores(network, image, block)[0] / float(given["bana.temperature"])
        assert_near(cosines, given["bana.logits"], 1e-4)
    else:
        assert_near(merged_scores(network, image, block)[0], given["mctformer.scores"], 1e-4)
    found = soft_prediction(network, image, block)
    assert_near(found, given[f"{kind}.scores"], 2e-3)
    assert (found.argmax(axis=0) != given[f"{kind}.label"]).mean() < 2e-3
