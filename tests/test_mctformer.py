"""MCTformer and semantic modulation: golden values, what attention makes of maps, how it is trained."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import put, refused
from small_transformers import ATTENTION, TINY, classifier, images, maps
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from training_set import namespace

from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.checkpoints.weights import save_weights
from workflow_scripts.data.index import read_index
from workflow_scripts.methods import mctformer
from workflow_scripts.methods.semantic_modulation import modulate
from workflow_scripts.run.command import Job
from workflow_scripts.stages import cams
from workflow_scripts.training.optimiser import build, parameter_groups

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
    assert torch.equal(maps(network, picture, {"fraction": 0.3, "alpha": 0.0}), maps(network, picture))
    assert not torch.equal(maps(network, picture, {"fraction": 0.3, "alpha": 1.2}), maps(network, picture))


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
    recipe = Config.load().block("voc", "classifiers", "mctformer_v2").recipe
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
        ("cams.eps.square_root", True, "eps", ["square_root", "'eps'", "set false"]),
        ("cams.mctformer.square_root", True, "mctformer", ["square_root", "'mctformer'"]),
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
