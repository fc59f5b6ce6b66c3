"""Backbones of timm: features at the asked stride, colours and weights as timm has them, and what it lacks is refused."""

import math
import re
import shutil
from pathlib import Path

import pytest
import timm
import torch
from conftest import SOURCES, put, refused
from own_photographs import COMMON, VOC, write_photographs
from safetensors.torch import load, save_file
from stage_runs import run
from torch import nn

from workflow_scripts import networks
from workflow_scripts.commands.estimates import Estimates
from workflow_scripts.config.planning import needs
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config, merge
from workflow_scripts.data.checkpoints.weights import load_initial
from workflow_scripts.data.transforms import MEAN, STANDARD_DEVIATION, normalise
from workflow_scripts.refine.irn import AffinityNetwork

RESNET = "test_resnet.r160_in1k"  # 2, 4, 8, 16, 32; can be dilated
CONVNEXT = "test_convnext.r160_in1k"  # 4, 8, 16, 32; can be dilated
VIT = "test_vit.r160_in1k"  # 16; patches of 16 pixels


def build(model: str = RESNET, **options):
    torch.manual_seed(0)
    return networks.build("timm", **{"model": model, "stride": 16, "batch_norm": "trained"} | options)


# --- features ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model, stride",
    [*((RESNET, stride) for stride in (4, 8, 16, 32)), *((CONVNEXT, stride) for stride in (8, 16, 32)), (VIT, 16)],
)
def test_features_have_one_cell_per_stride(model, stride):
    network = build(model, stride=stride).eval()
    assert network.stride == stride
    for height, width in ((96, 64), (65, 33), (17, 100)):
        with torch.inference_mode():
            features = network(torch.randn(2, 3, height, width))
        assert features.shape == (2, network.channels, math.ceil(height / stride), math.ceil(width / stride))


def test_features_are_those_of_timm():
    """Of the whole model, dilated by timm, on images that are normalised as its weights expect."""
    network = build(stride=8).eval()
    own = timm.create_model(RESNET, output_stride=8).eval()
    weights = {name.removeprefix("model."): value for name, value in network.state_dict().items()}
    assert own.load_state_dict(weights, strict=False).missing_keys == ["fc.weight", "fc.bias"]
    image = torch.randint(0, 256, (64, 96, 3), dtype=torch.uint8).numpy()
    mean, deviation = (torch.tensor(own.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    with torch.inference_mode():
        expected = own.forward_features((torch.from_numpy(image).permute(2, 0, 1) / 255 - mean)[None] / deviation)
        torch.testing.assert_close(network(normalise(image)[None]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("model, own", [("resnet10t.c3_in1k", False), (VIT, True)])
def test_colours_are_normalised_as_the_weights_expect(model, own):
    network = build(model)
    published = timm.get_pretrained_cfg(model)
    assert ((published.mean, published.std) != (MEAN, STANDARD_DEVIATION)) == own == network.own_colours
    grey = torch.full((3, 1, 1), 0.25)
    ours, theirs = ((grey - torch.tensor(m)[:, None, None]) / torch.tensor(s)[:, None, None] for m, s in
                    ((MEAN, STANDARD_DEVIATION), (published.mean, published.std)))  # fmt: skip
    torch.testing.assert_close(ours * network.scale + network.shift, theirs)


def test_a_model_that_cannot_be_dilated_ends_at_its_last_map_of_the_stride():
    fine, coarse = build("ghostnet_050", stride=16), build("ghostnet_050", stride=32)
    assert (fine.channels, coarse.channels) == (40, 80)
    assert len(fine.state_dict()) < len(coarse.state_dict())  # what comes after it is left out


def test_five_maps_for_networks_that_join_them():
    network = build(stride=16).eval()
    with torch.inference_mode():
        maps = network.pyramid(torch.randn(1, 3, 64, 96))
    assert network.pyramid_strides == (2, 4, 8, 16, 16)
    for features, stride, channels in zip(maps, network.pyramid_strides, network.pyramid_channels, strict=True):
        assert features.shape == (1, channels, 64 // stride, 96 // stride)
    refused(lambda: AffinityNetwork(build(CONVNEXT), None), CONVNEXT, "(2, 4, 8, 16, 16)", "another model")


# --- what is trained --------------------------------------------------------------------------------------------------


def test_frozen_batch_norm_stays_in_evaluation_mode():
    norms = [module for module in build(batch_norm="frozen").train().modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and not any(norm.training or norm.weight.requires_grad for norm in norms)
    assert all(norm.training for norm in build().train().modules() if isinstance(norm, nn.BatchNorm2d))


def test_frozen_stages_end_at_a_feature_map():
    network = build(frozen_stages=3).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.randn(2, 3, 64, 64)).square().mean().backward()
    frozen = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert {name.split(".")[1] for name in frozen} == {"conv1", "bn1", "layer1", "layer2"}
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[1] for name in changed} == {"layer3", "layer4"}
    assert not any(parameter.requires_grad for parameter in build(frozen_stages=5).parameters())
    refused(lambda: build(frozen_stages=6), "frozen_stages 6", "5 stages", "set fewer")


def test_the_position_of_a_transformer_belongs_to_its_first_stage():
    frozen = {name for name, parameter in build(VIT, frozen_stages=1).named_parameters() if not parameter.requires_grad}
    assert {"model.pos_embed", "model.cls_token", "model.patch_embed.proj.weight"} <= frozen
    assert any(".blocks.0." in name for name in frozen) and not any(".blocks.1." in name for name in frozen)


# --- weights ----------------------------------------------------------------------------------------------------------


def test_weights_of_a_file_of_timms(tmp_path):
    torch.manual_seed(1)
    whole = timm.create_model(RESNET)
    save_file(whole.state_dict(), tmp_path / "model.safetensors")
    torch.save(whole.state_dict(), tmp_path / "model.pth")
    for path in ("model.safetensors", "model.pth"):
        network = build()
        load_initial(network, str(tmp_path / path))
        for name, value in network.state_dict().items():
            assert torch.equal(value, whole.state_dict()[name.removeprefix("model.")])
    refused(lambda: load_initial(build(VIT), str(tmp_path / "model.pth")), "another network", "cls_token")


def test_weights_of_timms_hub(monkeypatch):
    asked, create = [], timm.create_model

    def fetched(name, pretrained=False, **options):
        asked.append((name, pretrained, options))
        torch.manual_seed(7)
        return create(name, **options)

    network = build(stride=8)
    monkeypatch.setattr(timm, "create_model", fetched)
    load_initial(network, "imagenet")
    assert asked == [(RESNET, True, {"output_stride": 8})]
    expected = fetched(RESNET).state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, expected[name.removeprefix("model.")])


def test_imagenet_without_a_connection(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    network = build()
    monkeypatch.setattr(timm, "create_model", unreachable)
    refused(lambda: network.imagenet(), "initial: imagenet", RESNET, "no route to host", f"timm/{RESNET}", "random")


# --- what timm lacks --------------------------------------------------------------------------------------------------


def test_models_and_strides_that_timm_lacks():
    refused(lambda: build("resnet51.a1_in1k"), "timm has no model 'resnet51.a1_in1k'", "resnet50")
    refused(lambda: build("resnet50.a1_in2k"), "no weights 'resnet50.a1_in2k'", "resnet50.a1_in1k")
    refused(lambda: build(VIT, stride=8), VIT, "no features of stride 8", "set one of 16")
    refused(lambda: build("mixer_s32_224", stride=32), "any size")


def with_block(raw: dict, model: str = RESNET, stride: int = 16, initial: str = "random", **changes) -> dict:
    """Settings with a classifier `mine` on a model of timm, and its maps."""
    backbone = {"name": "timm", "model": model, "stride": stride, "batch_norm": "frozen", "frozen_stages": 0}
    put(raw, "classifiers.mine", {"base": "cam", "backbone": backbone, "initial": initial, **changes})
    return put(raw, "cams.mine", {"base": "cam", "classifier": "mine"})


def test_an_unknown_model_is_refused_before_any_job(raw):
    block = Config(with_block(raw, "vit_small_patch14_dinov2.lvd142m", 14)).block("demo", "classifiers", "mine")
    assert (block.backbone.model, block.backbone.stride) == ("vit_small_patch14_dinov2.lvd142m", 14)
    where = "config: classifiers.mine.backbone.model: "
    refused(lambda: Config(with_block(raw, "resnet51.a1_in1k")), f"{where}timm has no model 'resnet51'", "resnet5")
    refused(lambda: Config(with_block(raw, "../resnet50")), where)


# --- in the workflow --------------------------------------------------------------------------------------------------


def test_timm_is_imported_by_its_backbone_alone():
    files = [*(SOURCES / "workflow_scripts").rglob("*.py"), *(SOURCES / "rules").glob("*"), SOURCES / "Snakefile"]
    importers = [path.name for path in files if re.search(r"^\s*(import|from) timm\b", path.read_text(), re.MULTILINE)]
    assert importers == ["timm.py"]


def test_what_its_weights_need(raw, tmp_path, monkeypatch):
    """The folder of timm's hub, which a job fills; or a file, which is a user's to bring."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / f"models--timm--{RESNET}"

    def found(initial: str):
        of = needs.of_block(Config(with_block(raw, initial=initial)), "demo", "classifiers", "mine")
        return [need for need in of if need.what == "weights"]

    (hub,) = found("imagenet")
    assert (hub.path, hub.state, hub.source) == (str(folder), needs.BY_ITSELF, f"https://huggingface.co/timm/{RESNET}")
    folder.mkdir()
    assert [need.state for need in found("imagenet")] == [needs.PRESENT]
    assert [need.blocks for need in found("model.safetensors")] == [True]


def test_its_cost_is_estimated(raw):
    config = Config(with_block(raw))
    cost = Estimates(config, "demo").cost("train_classifier", {"classifier": "mine"})
    network = build()
    weights = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    assert cost.bytes == weights + 4 * network.channels * len(config.dataset("demo").classes)
    assert cost.operations > 0


def test_a_classifier_and_its_maps(raw, tmp_path, monkeypatch):
    """From a file of timm's weights to maps, twice the same bytes."""
    monkeypatch.chdir(tmp_path)
    write_photographs()
    torch.manual_seed(1)
    initial = timm.create_model(RESNET).state_dict()
    save_file(initial, "model.safetensors")
    recipe = {"iterations": 3, "batch": 2, "crop": 32, "long_side": [24, 40]}
    with_block(raw, stride=8, initial="model.safetensors", recipe=recipe)
    plan = Plan(Config(put(raw, "datasets.mine", merge(COMMON, VOC))))
    job = plan.job("train_classifier", {"dataset": "mine", "seed": "0", "classifier": "mine"})
    assert "networks.timm" in job.modules and job.settings["initial_digest"]
    assert run(plan, "index") is None
    made = []
    for _ in range(2):
        assert run(plan, "train_classifier", seed="0", classifier="mine") is None
        assert run(plan, "cams", seed="0", cam="mine") is None
        made.append({path: path.read_bytes() for path in Path("results").rglob("mine.*") if path.suffix != ".json"})
        assert {path.suffix for path in made[-1]} >= {".safetensors", ".h5"}
        shutil.rmtree("results/mine/seed-0")
    assert made[0] == made[1]
    (weights,) = (path for path in made[0] if path.suffix == ".safetensors")
    trained = load(made[0][weights])
    assert not torch.equal(trained["backbone.model.layer4.0.conv1.weight"], initial["layer4.0.conv1.weight"])
    assert torch.equal(trained["backbone.model.bn1.running_mean"], initial["bn1.running_mean"])
