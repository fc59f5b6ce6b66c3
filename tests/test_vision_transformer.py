"""The vision transformer of MCTformer: its size, tokens and positions, and the weights that it takes."""

import math
from types import SimpleNamespace

import pytest
import torch
from conftest import refused
from small_transformers import CLASSES, classifier, images, maps, transformer
from torch import nn

from workflow_scripts import networks
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.checkpoints.weights import load_initial, load_trained, save_weights
from workflow_scripts.methods import cam, mctformer


def test_sizes_of_the_published_networks():
    voc = tuple(map(str, range(20)))
    block = Config.load().block("voc", "classifiers", "mctformer_v2")
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
    if (height == width) == (seen.shape[-2] == seen.shape[-1]):
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


@pytest.mark.parametrize("size", [(32, 32), (35, 35), (32, 37), (38, 33), (16, 64)])
def test_the_table_is_taken_as_it_is_for_images_that_are_square_in_pixels(size):
    """Of as many patches, those of all others are resized, by factors that are a tenth of a patch larger."""
    network, picture = transformer(), images(*size, count=1)
    rows, columns = size[0] // 8, size[1] // 8
    assert rows * columns == 16
    table = network.pos_embed_pat
    if size[0] != size[1]:
        grid = table.transpose(1, 2).unflatten(2, (4, 4))
        factors = (rows + 0.1) / 4, (columns + 0.1) / 4
        table = nn.functional.interpolate(grid, scale_factor=factors, mode="bicubic").flatten(2).transpose(1, 2)
    seen = []
    network.blocks[0].register_forward_pre_hook(lambda block, given: seen.append(given[0][:, 1:]))
    with torch.no_grad():
        network(picture)
        patches = network.patch_embed(picture[..., : rows * 8, : columns * 8]).flatten(2).transpose(1, 2)
    torch.testing.assert_close(seen[0], patches + table)


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


def random_classifier(version: str, **options) -> nn.Module:
    source = classifier(version, **options)
    for tensor in source.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape))
    return source


def of_its_authors(source: nn.Module, prefix: str = "", tables: int = 1) -> dict[str, torch.Tensor]:
    """MCTformer's names of its layers: one table of positions, a normalisation that is never applied and, in V1, a linear head."""
    state = {name.removeprefix("backbone."): value for name, value in source.state_dict().items()}
    if tables == 1:
        state["pos_embed"] = torch.cat([state.pop("pos_embed_cls"), state.pop("pos_embed_pat")], dim=1)
    width, classes = source.backbone.channels, source.backbone.cls_token.shape[1]
    state |= {"norm.weight": torch.rand(width), "norm.bias": torch.rand(width)}
    if source.head is None:
        state |= {"head.weight": torch.rand(classes, width), "head.bias": torch.rand(classes)}
    return {prefix + name: value.clone() for name, value in state.items()}


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("prefix", "tables"), [("", 1), ("module.", 1), ("", 2)])
def test_checkpoints_of_its_authors_fit(tmp_path, version, prefix, tables):
    source, target = random_classifier(version), classifier(version)
    torch.save({"model": of_its_authors(source, prefix, tables)}, tmp_path / "published.pth")
    load_trained(target, tmp_path / "published.pth")
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in target.state_dict().items())
    backbone = classifier(version).backbone
    load_initial(backbone, str(tmp_path / "published.pth"))
    assert all(torch.equal(value, backbone.state_dict()[name]) for name, value in source.backbone.state_dict().items())


def test_a_table_beside_the_two_that_are_used_is_left_out_and_named(tmp_path, capsys):
    source, target = random_classifier("v2"), classifier()
    path = tmp_path / "plus.pth"
    torch.save(of_its_authors(source, tables=2) | {"pos_embed": torch.rand(1, 17, 24)}, path)
    load_trained(target, path)
    assert torch.equal(target.backbone.pos_embed_pat, source.backbone.pos_embed_pat)
    assert "pos_embed: left out" in capsys.readouterr().out


def test_a_checkpoint_of_another_grid_is_resized_as_initial_weights_alone(tmp_path):
    source, target, path = random_classifier("v2", grid=6), classifier(), tmp_path / "published.pth"
    torch.save(of_its_authors(source), path)
    load_initial(target.backbone, str(path))
    grid = source.backbone.pos_embed_pat.transpose(1, 2).unflatten(2, (6, 6))
    expected = nn.functional.interpolate(grid, size=(4, 4), mode="bicubic").flatten(2).transpose(1, 2)
    torch.testing.assert_close(target.backbone.pos_embed_pat, expected)
    assert torch.equal(target.backbone.pos_embed_cls, source.backbone.pos_embed_cls)
    refused(lambda: load_trained(target, path), path, "pos_embed_pat (1x36x24, expected 1x16x24)")


def test_checkpoints_that_do_not_fit_are_refused_by_name(tmp_path):
    path, published = tmp_path / "published.pth", of_its_authors(random_classifier("v2"))
    torch.save(published, path)
    more = classifier(classes=("a", "b", "c", "d", "e"))
    for load in (lambda: load_trained(more, path), lambda: load_initial(more.backbone, str(path))):
        refused(load, path, "cls_token (1x3x24, expected 1x5x24)")
    refused(lambda: load_trained(classifier("v1"), path), path, "head.weight", "version: v2")
    torch.save(of_its_authors(random_classifier("v1")), path)
    refused(lambda: load_trained(classifier("v2"), path), path, "head.weight (3x24, expected 3x24x3x3)")
    for change, fragment in [
        ({"pos_embed": torch.rand(1, 3 + 15, 24)}, "pos_embed_pat (1x15x24"),  # no square
        ({"pos_embed": torch.rand(19, 24)}, "unknown: pos_embed"),
        ({"cls_token": torch.rand(3, 24)}, "cls_token (3x24"),
        ({"dist_token": torch.rand(1, 1, 24)}, "unknown: dist_token"),
    ]:
        torch.save(published | change, path)
        refused(lambda: load_initial(classifier().backbone, str(path)), path, fragment)
    torch.save({name: value for name, value in published.items() if name != "cls_token"}, path)
    refused(lambda: load_initial(classifier().backbone, str(path)), path, "missing: cls_token", "unknown: pos_embed")


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
