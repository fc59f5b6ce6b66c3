"""MCTformer and semantic modulation: golden values, the transformer's tokens and positions, what attention makes of maps."""

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import SOURCES, put, refused
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from training_set import namespace

from workflow_scripts import networks
from workflow_scripts.command import Job
from workflow_scripts.config.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.index import read_index
from workflow_scripts.data.weights import load_initial, load_trained, save_weights
from workflow_scripts.methods import cam, mctformer
from workflow_scripts.methods.semantic_modulation import modulate
from workflow_scripts.stages import cams
from workflow_scripts.training.optimiser import build, parameter_groups

CLASSES = ("a", "b", "c")
TINY = {"patch": 8, "width": 24, "depth": 4, "heads": 3, "grid": 4}
ATTENTION = {
    "class_to_patch": True,
    "patch_to_patch": True,
    "class_layers": 3,
    "patch_layers": 4,
    "orientation": "query",
}


def transformer(**options) -> nn.Module:
    torch.manual_seed(0)
    return networks.build("vision_transformer", **TINY | options)


def classifier(version: str = "v2", classes=CLASSES, **options) -> mctformer.Classifier:
    return mctformer.Classifier(transformer(**options), classes, SimpleNamespace(version=version)).eval()


def images(height: int = 32, width: int = 40, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def maps(network: nn.Module, picture: torch.Tensor, change=None, **attention) -> torch.Tensor:
    with torch.inference_mode():
        return network.maps(picture, None, SimpleNamespace(**ATTENTION | attention), change)[0]


# Kernels


@pytest.fixture
def golden() -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.RandomState(6)
    attention = random.rand(12, 6, 128, 128)
    attention = (attention / attention.sum(axis=-1, keepdims=True)).mean(axis=1)
    cam = np.maximum(random.randn(20, 108), 0)
    return torch.from_numpy(attention)[:, None], torch.from_numpy(cam)[None]


def test_published_values(golden):
    attention, cam = golden
    of_classes = mctformer.class_to_patch(attention, 20)
    between = mctformer.patch_to_patch(attention, 20)
    assert of_classes.shape == (1, 20, 108) and between.shape == (1, 108, 108)
    out = mctformer.refine_maps(of_classes * cam, between)
    assert out.sum().item() == pytest.approx(205.22471252, rel=1e-9)
    assert out[0, 3, :2].tolist() == pytest.approx([0.09694628, 0.09530148], abs=5e-9)
    other = mctformer.refine_maps(of_classes * cam, between.transpose(1, 2))
    assert other[0, 3, :2].tolist() == pytest.approx([0.09673321, 0.09522023], abs=5e-9)
    mean = modulate(of_classes, between, 0.3, 1) - of_classes
    assert mean[0, 3, :3].tolist() == pytest.approx([0.02346772, 0.02326186, 0.02423632], abs=5e-9)
    final = mctformer.refine_maps(modulate(of_classes, between) * cam, between)
    assert final.sum().item() == pytest.approx(450.45904540, rel=1e-9)


def plain_modulation(of_classes, between, fraction: float, alpha: float) -> np.ndarray:
    """Equations 3 and 4, patch by patch."""
    out = of_classes.copy()
    chosen = max(1, round(fraction * of_classes.shape[-1]))
    for image in range(len(out)):
        for patch in range(out.shape[-1]):
            related = np.argsort(-between[image, patch], kind="stable")[:chosen]
            out[image, :, patch] += alpha * of_classes[image][:, related].mean(axis=1)
    return out


@pytest.mark.parametrize(("fraction", "alpha"), [(0.3, 1.2), (0.001, 0.5), (0.5, 1.0)])
def test_modulation_is_that_of_the_equations(fraction, alpha):
    random = np.random.default_rng(0)
    of_classes, between = random.random((2, 3, 17)), random.random((2, 17, 17))
    found = modulate(torch.from_numpy(of_classes), torch.from_numpy(between), fraction, alpha)
    np.testing.assert_allclose(found.numpy(), plain_modulation(of_classes, between, fraction, alpha), rtol=1e-12)


def test_all_patches_add_a_constant_to_each_class():
    of_classes, between = torch.rand(1, 3, 20), torch.rand(1, 20, 20)
    added = modulate(of_classes, between, 1.0, 0.7) - of_classes
    torch.testing.assert_close(added, 0.7 * of_classes.mean(dim=2, keepdim=True).expand_as(added))


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        out = function(*arguments, **(options or {}))
        for item in out if isinstance(out, tuple | list) else [out]:
            self.elements = max(self.elements, item.numel() if isinstance(item, torch.Tensor) else 0)
        return out


def test_modulation_never_holds_classes_times_patches_times_patches():
    count, largest = 300, {}
    for classes in (4, 80):
        with Largest() as seen:
            modulate(torch.rand(1, classes, count), torch.rand(1, count, count))
        largest[classes] = seen.elements
    assert largest[4] == largest[80] <= count * count


# Transformer


def test_sizes_of_the_published_networks():
    voc = tuple(map(str, range(20)))
    block = Config.load(SOURCES / "config.yaml").block("voc", "classifiers", "mctformer_v2")
    options = block.backbone.model_dump()
    for version, classes, millions in [
        ("v2", voc, 21.749),
        ("v1", voc, 21.688),
        ("v2", tuple(map(str, range(80))), 22.0),
    ]:
        with torch.device("meta"):
            network = mctformer.Classifier(networks.build(**options), classes, SimpleNamespace(version=version))
        # The published networks also hold layers that they never use: a normalisation, and in V1 a linear head.
        unused = 2 * 384 + (385 * 20 if version == "v1" else 0)
        total = sum(parameter.numel() for parameter in network.parameters()) + unused
        assert total / 1e6 == pytest.approx(millions, abs=0.0051 if millions == 22 else 0.0011)
    with torch.device("meta"):
        network = mctformer.Classifier(networks.build(**options), voc, SimpleNamespace(version="v2")).eval()
        tokens = network.backbone(torch.zeros(1, 3, 366, 500), attention=True)
    assert tokens.attention.shape == (12, 1, 702, 702) and tokens.patches.shape == (1, 384, 22, 31)
    assert mctformer.patch_to_patch(tokens.attention, 20).shape == (1, 682, 682)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (150, 200), (8, 15)])
def test_tokens_and_maps_of_any_size(height, width):
    network, picture = classifier(), images(height, width)
    tokens = network.backbone(picture, attention=True)
    rows, columns = height // 8, width // 8
    assert tokens.classes.shape == (2, 3, 24) and tokens.patches.shape == (2, 24, rows, columns)
    assert tokens.attention.shape == (4, 2, 3 + rows * columns, 3 + rows * columns)
    torch.testing.assert_close(tokens.attention.sum(dim=-1), torch.ones(4, 2, 3 + rows * columns))
    found = maps(network, picture)
    assert found.shape == (2, 3, rows, columns) and (found >= 0).all() and found.isfinite().all()
    seen = picture[..., : rows * 8, : columns * 8]
    assert torch.equal(found, maps(network, seen))  # what is left over of a side is not seen
    assert network.class_logits(picture).shape == (2, 3)


def test_an_image_smaller_than_a_patch_is_refused():
    refused(lambda: transformer()(images(7, 40)), "7 x 40", "patch of 8")


def test_attention_is_returned_only_when_asked_for():
    network = classifier()
    assert network.backbone(images()).attention is None
    with torch.inference_mode():
        asked, plain = network.backbone(images(), attention=True), network.backbone(images())
    assert torch.equal(asked.classes, plain.classes) and torch.equal(asked.patches, plain.patches)


def test_positions_are_interpolated_by_scale_factors():
    network = transformer(grid=14, width=6)
    assert network.positions(14, 14) is network.pos_embed_pat
    found = network.positions(9, 12).transpose(1, 2).unflatten(2, (9, 12))
    grid = network.pos_embed_pat.transpose(1, 2).unflatten(2, (14, 14))
    # The factor, not the ratio of the sizes, says where is sampled: cell i at (i + 0.5) / factor - 0.5.
    factor = 9.1 / 14
    by_size = nn.functional.interpolate(grid, size=(9, 12), mode="bicubic")
    assert (found - by_size).abs().max() > 1e-3
    point = 4.5 / factor - 0.5
    first, part = math.floor(point), point - math.floor(point)
    a = -0.75  # of torch's bicubic kernel
    near = lambda x: ((a + 2) * x - (a + 3)) * x * x + 1  # noqa: E731
    far = lambda x: ((a * x - 5 * a) * x + 8 * a) * x - 4 * a  # noqa: E731
    weights = torch.tensor([far(part + 1), near(part), near(1 - part), far(2 - part)])
    middle = network.positions(9, 14).transpose(1, 2).unflatten(2, (9, 14))  # columns as they are but for 14.1 / 14
    rows = torch.einsum("bdkw,k->bdw", grid[:, :, first - 1 : first + 3], weights)
    columns = nn.functional.interpolate(rows[:, :, None], scale_factor=(1.0, 14.1 / 14), mode="bicubic")[:, :, 0]
    torch.testing.assert_close(middle[:, :, 4], columns, rtol=1e-4, atol=1e-6)


def deit_state(patches: int, width: int = 24, depth: int = 4) -> dict[str, torch.Tensor]:
    source = transformer(grid=patches, width=width, depth=depth).state_dict()
    state = {name: torch.rand(value.shape) for name, value in source.items() if not name.startswith("pos_embed")}
    state["pos_embed"] = torch.rand(1, 1 + patches**2, width)
    return state | {
        "norm.weight": torch.rand(width),
        "norm.bias": torch.rand(width),
        "head.weight": torch.rand(9, width),
    }


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_deit_fill_every_class_token(tmp_path, wrapped):
    state, network = deit_state(4), classifier()
    path = tmp_path / "deit.pth"
    torch.save({"model": state} if wrapped else state, path)
    load_initial(network.backbone, str(path))
    for number in range(3):
        assert torch.equal(network.backbone.cls_token[:, number], state["cls_token"][:, 0])
        assert torch.equal(network.backbone.pos_embed_cls[:, number], state["pos_embed"][:, 0])
    assert torch.equal(network.backbone.pos_embed_pat, state["pos_embed"][:, 1:])
    assert torch.equal(network.backbone.blocks[2].attn.qkv.weight, state["blocks.2.attn.qkv.weight"])
    own = {name: value.clone() for name, value in network.backbone.state_dict().items()}
    torch.save(own, tmp_path / "own.pth")  # of this project: as many tokens as classes
    other = classifier()
    load_initial(other.backbone, str(tmp_path / "own.pth"))
    assert all(torch.equal(value, own[name]) for name, value in other.backbone.state_dict().items())


def test_weights_for_another_grid_are_resized_and_those_of_another_width_refused(tmp_path):
    path, network = tmp_path / "deit.pth", classifier()
    state = deit_state(6)
    torch.save(state, path)
    load_initial(network.backbone, str(path))
    grid = state["pos_embed"][:, 1:].transpose(1, 2).unflatten(2, (6, 6))
    expected = nn.functional.interpolate(grid, size=(4, 4), mode="bicubic").flatten(2).transpose(1, 2)
    torch.testing.assert_close(network.backbone.pos_embed_pat.data, expected)
    torch.save(deit_state(4, width=12), path)
    refused(lambda: load_initial(network.backbone, str(path)), path, "another shape")
    torch.save(deit_state(4, depth=5), path)
    refused(lambda: load_initial(network.backbone, str(path)), path, "blocks.4")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_checkpoints_of_its_authors_fit(tmp_path, version):
    """They hold a normalisation that is never applied and, in V1, a linear head."""
    source, target = classifier(version), classifier(version)
    for tensor in source.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape))
    published = {name.removeprefix("backbone."): value for name, value in source.state_dict().items()}
    published |= {"norm.weight": torch.rand(24), "norm.bias": torch.rand(24)}
    published |= {"head.weight": torch.rand(3, 24), "head.bias": torch.rand(3)} if version == "v1" else {}
    torch.save({"model": published}, tmp_path / "published.pth")
    load_trained(target, tmp_path / "published.pth")
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in target.state_dict().items())


def test_a_hybrid_takes_the_cells_of_a_network_and_may_start_from_a_classifier_s(tmp_path):
    network = transformer(stem="tiny")
    assert network.eval()(images(32, 47)).patches.shape == (2, 24, 4, 5)
    source = cam.Classifier(networks.build("tiny", stride=8), CLASSES, SimpleNamespace(dropout=0.0))
    save_weights(source, tmp_path / "cam.safetensors")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    load_initial(network, SimpleNamespace(classifier="cam"), str(tmp_path / "cam.safetensors"))
    for name, value in network.state_dict().items():
        kept = name.removeprefix("patch_embed.features.")
        assert torch.equal(value, before[name] if kept == name else source.backbone.state_dict()[kept])


def test_branches_are_dropped_for_whole_images_in_training_alone():
    network = transformer(drop_path=0.5)
    assert [block.drop_path for block in network.blocks] == pytest.approx([0, 1 / 6, 1 / 3, 0.5])
    block = network.blocks[-1].train()
    branch = block._dropped(torch.ones(400, 2, 3))
    assert set(branch.unique().tolist()) == {0.0, 2.0} and (branch.amin(dim=(1, 2)) == branch.amax(dim=(1, 2))).all()
    assert 120 < (branch[:, 0, 0] == 0).sum() < 280
    assert torch.equal(block.eval()._dropped(torch.ones(3, 2, 3)), torch.ones(3, 2, 3))


# Classifier


def test_losses_pool_class_tokens_and_patch_maps():
    network, labels = classifier(), torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    losses = network.losses({"image": images(), "labels": labels})
    tokens = network.backbone(images())
    margin = nn.functional.multilabel_soft_margin_loss
    torch.testing.assert_close(losses["class_tokens"], margin(tokens.classes.mean(dim=2), labels))
    torch.testing.assert_close(losses["patch_tokens"], margin(network.head(tokens.patches).mean(dim=(2, 3)), labels))
    assert set(classifier("v1").losses({"image": images(), "labels": labels})) == {"class_tokens"}
    torch.testing.assert_close(network.class_logits(images()), tokens.classes.mean(dim=2))


def test_equal_class_tokens_learn_apart():
    network, labels = classifier(), torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    with torch.no_grad():
        for tokens in (network.backbone.cls_token, network.backbone.pos_embed_cls):
            tokens.copy_(tokens[:, :1].expand_as(tokens))
    logits = network.class_logits(images())
    torch.testing.assert_close(logits, logits[:, :1].expand_as(logits))
    sum(network.losses({"image": images(), "labels": labels}).values()).backward()
    grads = network.backbone.cls_token.grad[0]
    assert not torch.allclose(grads[0], grads[1])
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_maps_of_each_choice_of_attention():
    network, picture = classifier(), images()
    with torch.inference_mode():
        tokens = network.backbone(picture, attention=True)
        patch_maps = network.head(tokens.patches).relu().flatten(2)
        of_classes = tokens.attention[-3:, :, :3, 3:].sum(dim=0)
        between = tokens.attention[:, :, 3:, 3:].sum(dim=0)
    size = tokens.patches.shape[-2:]
    expected = {
        (False, False): patch_maps,
        (False, True): patch_maps @ between.transpose(1, 2),
        (True, False): of_classes * patch_maps,
        (True, True): (of_classes * patch_maps) @ between.transpose(1, 2),
    }
    for (classes, patches), values in expected.items():
        found = maps(network, picture, class_to_patch=classes, patch_to_patch=patches)
        torch.testing.assert_close(found, values.unflatten(2, size))
    key = maps(network, picture, orientation="key")
    torch.testing.assert_close(key, ((of_classes * patch_maps) @ between).unflatten(2, size))
    few = maps(network, picture, class_layers=1, patch_layers=2)
    pairs = tokens.attention[-2:, :, 3:, 3:].sum(dim=0)
    one = tokens.attention[-1, :, :3, 3:] * patch_maps
    torch.testing.assert_close(few, (one @ pairs.transpose(1, 2)).unflatten(2, size))
    first = classifier("v1")
    alone = maps(first, picture, patch_to_patch=False)
    with torch.inference_mode():
        attention = first.backbone(picture, attention=True).attention
    torch.testing.assert_close(alone, attention[-3:, :, :3, 3:].sum(dim=0).unflatten(2, size))


def test_alpha_0_is_mctformer_to_the_bit():
    network, picture = classifier(), images(150, 200, 1)
    assert torch.equal(maps(network, picture, partial(modulate, alpha=0.0)), maps(network, picture))
    assert not torch.equal(maps(network, picture, modulate), maps(network, picture))


def test_a_mirrored_image_has_mirrored_maps_but_for_the_positions():
    network, picture = classifier(), images(32, 32, 1)
    with torch.no_grad():
        network.backbone.pos_embed_pat.zero_()
        for weight in (network.backbone.patch_embed.proj.weight, network.head.weight):
            weight.copy_((weight + weight.flip(-1)) / 2)
    torch.testing.assert_close(maps(network, picture.flip(-1)).flip(-1), maps(network, picture))


# Training


def test_tokens_positions_and_vectors_have_no_decay():
    recipe = SimpleNamespace(learning_rate=6.25e-5, head_multiplier=1, bias_multiplier=1, weight_decay=0.05)
    network = classifier()
    groups = parameter_groups(network, recipe)
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    names = {name for name, p in network.named_parameters() if id(p) not in decayed}
    assert names == {
        name
        for name, p in network.named_parameters()
        if p.ndim == 1 or name in {"backbone.cls_token", "backbone.pos_embed_cls", "backbone.pos_embed_pat"}
    }
    grouped = [id(p) for group in groups for p in group["params"]]
    assert len(grouped) == len(set(grouped)) == len(list(network.parameters()))
    assert {group["lr"] for group in groups} == {6.25e-5}


def test_published_rates():
    """Per epoch: the rise, the cosine, and the epoch that timm's scheduler is behind."""
    recipe = Config.load(SOURCES / "config.yaml").block("voc", "classifiers", "mctformer_v2").recipe
    optimiser, schedule = build(classifier(), recipe)
    assert (recipe.iterations, recipe.batch) == (60 * 165, 64) and 10582 // 64 == 165
    factor, rates = schedule.lr_lambdas[0], []
    for epoch in range(60):
        within = {factor(step) for step in range(epoch * 165, (epoch + 1) * 165)}
        assert len(within) == 1
        rates.append(6.25e-5 * within.pop())
    at = {0: 1e-6, 1: 1e-6, 2: 1.33e-5, 5: 5.02e-5, 6: 6.161e-5, 11: 5.898e-5, 31: 3.625e-5}
    for epoch, rate in at.items():
        assert rates[epoch] == pytest.approx(rate, rel=5e-4), epoch
    assert 6.25e-5 * factor(60 * 165) == pytest.approx(1.004e-5, rel=5e-4)  # t = 59
    assert optimiser.param_groups[0]["betas"] == (0.9, 0.999) and optimiser.param_groups[0]["eps"] == 1e-8


# Configuration


def plan(raw: dict) -> Plan:
    return Plan(Config(raw))


def of_cam(name: str) -> dict[str, str]:
    return {"dataset": "demo", "seed": "0", "cam": name}


def test_modulation_is_code_of_the_maps_that_ask_for_it_alone(raw):
    made = plan(raw)
    module = "methods.semantic_modulation"
    assert module in made.modules("cams", of_cam("semantic_modulation"))
    assert module not in made.modules("cams", of_cam("mctformer"))
    trained = {"dataset": "demo", "seed": "0", "classifier": "mctformer_v2"}
    assert module not in made.modules("train_classifier", trained)


@pytest.mark.parametrize(
    ("key", "value", "name", "fragments"),
    [
        ("cams.mctformer.attention.class_layers", 13, "mctformer", ["attention.class_layers", "found 13"]),
        ("cams.mctformer_v1.attention", {"class_to_patch": False}, "mctformer_v1", ["class_to_patch", "v1"]),
        ("cams.mctformer_class.classifier", "cam", "mctformer_class", ["attention", "'cam' has none"]),
        ("cams.cam_vgg16.classifier", "mctformer_v2", "cam_vgg16", ["attention", "needs it"]),
        ("cams.eps.normalise", "min_max", "eps", ["normalise", "'eps'"]),
        ("cams.modulated_class.attention.class_to_patch", False, "modulated_class", ["modulation"]),
        ("cams.mctformer.align_corners", True, "mctformer", ["align_corners"]),
        ("classifiers.mctformer_v2.initial", {"classifier": "cam"}, None, ["has backbone 'mobilenet_v2'", "'linear'"]),
        ("classifiers.mctformer_v2.backbone.heads", 5, None, ["384", "5 heads"]),
        ("classifiers.mctformer_v2.recipe.poly_power", 0.9, None, ["cosine"]),
        ("classifiers.cam.backbone.name", "vision_transformer", None, ["classifiers.cam"]),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(raw, key, value, name, fragments):
    raw["datasets"]["demo"]["overrides"].clear()
    put(raw, key, value)
    call = (lambda: plan(raw).job("cams", of_cam(name))) if name else (lambda: Config(raw))
    refused(call, *fragments)


# Stage


def stored(rendered, weights, **changes) -> dict[str, np.ndarray]:
    """What stage cams keeps of the first rendered image, whose sides are no multiples of a patch of 8 after scaling."""
    block = {"scales": [0.9], "side": None, "flip": True, "merge": "mean", "upsampling": "bilinear", "resolution": 1}
    block |= {"align_corners": False, "precision": "float32", "normalise": "min_max"}
    block |= {"attention": ATTENTION | {"modulation": None}} | changes
    network = {"name": "vision_transformer", "drop_path": 0.0, "stem": "linear"} | TINY
    settings = {"dataset": "demo", "block": block}
    settings["classifier"] = {"method": "mctformer", "backbone": network, "options": {"version": "v2"}}
    inputs = SimpleNamespace(index=rendered / "index.h5", images=rendered / "images.h5", weights=weights)
    state = cams.make_state(Job(namespace(settings), inputs, SimpleNamespace(), 1, ""))
    return cams.maps_of(state, state.images.index.ids[0])


def test_stored_maps_are_stretched_to_0_and_1(rendered, tmp_path):
    weights = tmp_path / "network.safetensors"
    save_weights(classifier(classes=tuple("abcdef")), weights)
    plain = stored(rendered, weights)
    size = read_index(rendered / "index.h5").size_of(read_index(rendered / "index.h5").ids[0])
    assert plain["scores"].shape == (len(plain["classes"]), *size) and len(plain["classes"])
    assert (plain["scores"].min(axis=(1, 2)) == 0).all()
    np.testing.assert_allclose(plain["scores"].max(axis=(1, 2)), 1, atol=1e-3)
    none = stored(rendered, weights, attention=ATTENTION | {"modulation": {"fraction": 0.3, "alpha": 0.0}})
    assert (none["scores"] == plain["scores"]).all()
    some = stored(rendered, weights, attention=ATTENTION | {"modulation": {"fraction": 0.3, "alpha": 5.0}})
    assert (some["scores"] != plain["scores"]).any()
