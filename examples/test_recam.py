"""ReCAM from outside: closed forms of its losses and maps, and what the workflow makes of a folder that it lies in."""

import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.config import families
from workflow_scripts.config.layers import read_settings
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config

EXAMPLES = Path(__file__).resolve().parent
CLASSES = ("cat", "dog")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The method in a folder of its own, and a working folder beside."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield Path(shutil.copytree(EXAMPLES / "recam", tmp_path / "outside"))
    families.use([])


@pytest.fixture
def recam(folder):
    families.use([str(folder)])
    return plugin("methods", "recam")


class Features(nn.Module):
    """Images of two channels as features, times a weight that learns."""

    channels, stride = 2, 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return images * self.weight


def network(recam, first, second, **options):
    found = recam.Classifier(
        Features(), CLASSES, SimpleNamespace(**{"softmax_weight": 1.0, "maps": "product"} | options)
    )
    with torch.no_grad():
        found.first.weight.copy_(torch.tensor(first)[:, :, None, None])
        found.second.weight.copy_(torch.tensor(second))
    return found


def test_features_are_averaged_as_each_class_sees_them(recam):
    features = torch.tensor([[[[4.0, 1.0], [2.0, 1.0]], [[0.0, 8.0], [0.0, 0.0]]]])
    maps = torch.tensor([[[[2.0, 0.0], [1.0, 0.0]], [[0.0, 0.5], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]])
    # Masks are 1 and 1/2, then 1; means are over all four positions; a map of nothing sees nothing.
    expected = torch.tensor([[[(4 + 2 / 2) / 4, 0.0], [1 / 4, 8 / 4], [0.0, 0.0]]])
    torch.testing.assert_close(recam.masked_means(features, maps), expected, rtol=1e-4, atol=1e-4)


def test_softmax_loss_is_a_mean_over_the_classes_of_an_image(recam):
    three, seven = math.log(3), math.log(7)
    logits = torch.tensor([[[three, 0.0], [seven, 0.0]], [[0.0, 0.0], [0.0, three]], [[9.0, -9.0], [-9.0, 9.0]]])
    labels = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])  # the last image has no class
    images = [math.log(4 / 3), (math.log(2) + math.log(4 / 3)) / 2, 0.0]
    assert recam.softmax_loss(logits, labels).item() == pytest.approx(sum(images) / 3, abs=1e-6)


def test_two_classes_that_see_the_same_cannot_be_told_apart(recam):
    """What the paper is about: however the second classifier learns, maps that lie on each other cost at least log 2."""
    torch.manual_seed(0)
    image = {"image": torch.rand(1, 2, 4, 4), "labels": torch.ones(1, 2)}
    for _ in range(5):
        same = network(recam, [[1.0, 1.0], [1.0, 1.0]], torch.randn(2, 2).tolist())
        assert same.losses(image)["softmax"].item() >= math.log(2) - 1e-6
    apart = {"image": torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]]), "labels": torch.ones(1, 2)}
    told = network(recam, [[1.0, 0.0], [0.0, 1.0]], [[20.0, 0.0], [0.0, 20.0]]).losses(apart)["softmax"]
    assert told.item() == pytest.approx(math.log(1 + math.exp(-10)), abs=1e-3)


def test_both_losses_teach_the_backbone_through_the_masks(recam):
    batch = {"image": torch.rand(2, 2, 3, 3), "labels": torch.tensor([[1.0, 0.0], [1.0, 1.0]])}
    learner = network(recam, [[1.0, 0.2], [0.3, 1.0]], [[1.0, -1.0], [0.5, 2.0]], softmax_weight=0.5)
    losses, whole = learner.losses(batch), network(recam, [[1.0, 0.2], [0.3, 1.0]], [[1.0, -1.0], [0.5, 2.0]])
    assert set(losses) == {"classification", "softmax"}
    torch.testing.assert_close(2 * losses["softmax"], whole.losses(batch)["softmax"])
    losses["softmax"].backward()
    for parameter in (learner.backbone.weight, learner.first.weight, learner.second.weight):
        assert parameter.grad.abs().sum() > 0
    assert {id(parameter) for parameter in learner.new_parameters()} == {
        id(learner.first.weight),
        id(learner.second.weight),
    }
    logits = learner.class_logits(batch["image"])
    torch.testing.assert_close(logits, (learner.first(batch["image"])).mean(dim=(2, 3)))
    expected = nn.functional.multilabel_soft_margin_loss(logits, batch["labels"])
    torch.testing.assert_close(losses["classification"], expected)


@pytest.mark.parametrize("maps, expected", [("product", [2 * 3.0, 0.0]), ("second", [2.0, 1.0])])
def test_maps(recam, maps, expected):
    """At a position with features (1, 0): weights of the second classifier, or both classifiers' multiplied; positive parts."""
    found, background = network(recam, [[3.0, 1.0], [-1.0, 1.0]], [[2.0, 5.0], [1.0, 5.0]], maps=maps).maps(
        torch.tensor([[[[1.0]], [[0.0]]]]), torch.ones(1, 2)
    )
    assert background is None and found.flatten().tolist() == expected


# --- in the workflow --------------------------------------------------------------------------------------------------


def plan(folder: Path) -> Plan:
    """Of the demo beside the example, with the method of a folder, read anew."""
    families.use([])
    return Plan(Config(read_settings([EXAMPLES / "recam_demo.yaml"], {"plugins": [str(folder)]})))


def codes(folder: Path) -> dict[tuple, str]:
    found = plan(folder)
    return {(stage, *sorted(names.items())): found.code(stage, names) for stage, names in found.jobs("demo")}


def test_an_edit_makes_its_own_jobs_stale(folder):
    before, source = codes(folder), folder / "recam.py"
    source.write_text(source.read_text().replace("+ 1e-5", "+ 1e-4"))
    after = codes(folder)
    stale = {(stage, dict(names).get("classifier") or dict(names).get("cam")) for stage, *names in before
             if before[stage, *names] != after[stage, *names]}  # fmt: skip
    assert stale == {(stage, "recam") for stage in ("train_classifier", "classification", "cams")}


def test_faults_are_told_by_the_file(folder):
    source = folder / "recam.py"
    text = source.read_text()
    for fault, line in (
        ("class RecamOptions(Block)", "class RecamOptions(Block"),
        ("NonNegativeFloat = Field", "Weight = Field"),
    ):
        source.write_text(text.replace(fault, line))
        with pytest.raises(UserError) as error:
            plan(folder)
        assert str(source) in str(error.value) and "\n" not in str(error.value)
