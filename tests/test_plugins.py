"""Modules from outside: a folder or an installed package brings what ours have, and is held to the same rules."""

import sys
from pathlib import Path

import pytest
import stage_runs
import yaml
from conftest import refused
from own_photographs import CSV, plan_of, write_photographs

from workflow_scripts.base import plugins
from workflow_scripts.config import families, fingerprint
from workflow_scripts.config.planning.needs import of_job
from workflow_scripts.config.planning.plan import Plan

METHOD = """
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from workflow_scripts.config.types import classifiers
from workflow_scripts.config.types.parts import Block, Share


class Options(Block):
    dropout: Share = Field(description="share of feature channels dropped")


class FarCam(classifiers.Classifier):
    method: Literal["far_cam"]
    options: Options


class Classifier(nn.Module):
    learns_background = False

    def __init__(self, backbone, classes, options):
        super().__init__()
        self.backbone, self.dropout = backbone, nn.Dropout2d(options.dropout)
        self.head = nn.Conv2d(backbone.channels, len(classes), 1, bias=False)

    def new_parameters(self):
        return [self.head.weight]

    def class_logits(self, images):
        return self.head(self.dropout(self.backbone(images))).mean(dim=(2, 3))

    def losses(self, batch):
        return {"labels": nn.functional.multilabel_soft_margin_loss(self.class_logits(batch["image"]), batch["labels"])}

    def maps(self, images, labels):
        return self.head(self.backbone(images)).relu(), None
"""
HEAD = """from typing import Literal
from workflow_scripts.config.types import parts, mask_blocks, segmenters, saliency_blocks, affinity_blocks
"""
OTHERS = {  # a module of each family, and a block that it is asked for by
    "flat_mask": ("masks", 'class FlatMask(mask_blocks.MaskRule):\n    rule: Literal["flat"]\n', {"rule": "flat"}),
    "far": ("saliency", 'class Far(saliency_blocks.Detected):\n    detector: Literal["far"]\n', {"detector": "far"}),
    "small_net": (
        "backbones",
        'class SmallNet(parts.Backbone):\n    name: Literal["small_net"]\n',
        {"name": "small_net", "stride": 8, "batch_norm": "trained", "frozen_stages": 0},
    ),
    "saliency_far": (
        "saliency_networks",
        'class FarNetwork(saliency_blocks.SaliencyNetwork):\n    name: Literal["far"]\n',
        {"name": "far"},
    ),
}
WITHOUT_CODE = {  # what planning reads of a mask rule, a segmenter, a detector and an affinity network with a rule of its own
    "flat_mask": "class Flat(mask_blocks.MaskRule):\n    rule: Literal['flat']\n    cam: Annotated[parts.Name, parts.Of('cams')]\n",
    "pair_walk_mask": """class PairWalk(mask_blocks.MaskRule):
    rule: Literal['pair_walk']
    walks_along: ClassVar = 'pair_net'
    cam: Annotated[parts.Name, parts.Of('cams')]
    affinity: Annotated[parts.Name, parts.Of('affinities')]
""",
    "pair_net": """class Labels(parts.Block):
    sure: parts.Share


class Recipe(parts.Recipe):
    jitter: parts.Jitter


class PairNet(affinity_blocks.Affinity):
    network: Literal['pair_net']
    labels: Labels
    recipe: Recipe
""",
    "pair_net_label": "",
    "pair_net_samples": "",
    "score_net": "class ScoreNet(segmenters.Segmenter):\n    network: Literal['score_net']\n    recipe: parts.SegmenterRecipe\n",
    "seen": """class Seen(saliency_blocks.Detector):
    detector: Literal['seen']
    model: str

    def packages(self):
        return {'no_such_package': 'pip install it'}

    def needed_files(self):
        return (parts.File('model', f'{self.model}.onnx', 'https://example.org'), parts.File('more', 'x', is_fetched=True))
""",
}
SETTINGS = """
saliency:
  seen: {detector: seen, model: best}
classifiers:
  eps_seen: {base: eps, saliency: seen}
cams:
  cam_seen: {classifier: eps_seen, base: eps}
masks:
  flat: {rule: flat, cam: cam_seen}
  paired: {rule: pair_walk, cam: cam, affinity: pair}
affinities:
  pair: {base: cam, network: pair_net, labels: {low: null, high: null, crf: null, sure: 0.5}, head: null, group_norm: null, distance: null}
segmenters:
  scores:
    base: large_fov
    network: score_net
    hidden: null
    dilation: null
    score_kernel: null
    dropout: null
    loss_at: null
    align_corners: null
systems:
  flat: {segmenter: scores, predictions: [single]}
"""
TINY = {"name": "tiny", "stride": 8, "frozen_stages": 0, "batch_norm": "trained"}
RECIPE = {"iterations": 2, "batch": 2, "crop": 16, "long_side": [16, 24]}
BLOCK = {"base": "cam", "method": "far_cam", "initial": "random", "backbone": TINY, "recipe": RECIPE}
STAGES = {"train_classifier": "classifier", "cams": "cam", "masks": "mask"}


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder beside the working folder; afterwards all is forgotten that came from it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    before = {*sys.modules}
    yield folder
    families.installed.cache_clear()
    families.use([])
    for name in [name for name in sys.modules if name not in before and name.startswith("workflow_scripts")]:
        del sys.modules[name]


def planned(folder: Path) -> Plan:
    """A plan with a chain of the method from outside, read anew."""
    families.use([])
    named = {"classifiers": {"far": BLOCK}, "cams": {"far": {"base": "cam", "classifier": "far"}}}
    named |= {"masks": {"far": {"base": "cam", "cam": "far"}}, "systems": {"far": {"mask": "far"}}}
    raw = {"plugins": [str(folder)], **named}
    return plan_of(CSV, over=raw, systems=["cam", "far"])


def test_a_method_from_outside_runs_to_masks(outside):
    (outside / "far_cam.py").write_text(METHOD)
    write_photographs()
    plan = planned(outside)
    for stage in ("index", "truth"):
        assert stage_runs.run(plan, stage) is None
    assert stage_runs.run(plan, "train_classifier", seed="0", classifier="far") is None
    assert stage_runs.run(plan, "cams", seed="0", cam="far") is None
    assert stage_runs.run(plan, "thresholds", seed="0", cam="far") is None
    assert stage_runs.run(plan, "masks", seed="0", mask="far") is None
    record = Path("results/mine/seed-0/classifiers/far.safetensors.json").read_text()
    assert '"methods.far_cam"' in record


def codes(plan: Plan) -> dict[tuple, str]:
    jobs = ((stage, {key: names[key] for key in sorted(names)}) for stage, names in plan.jobs("mine"))
    return {
        (stage, *(names[key] for key in names if key != "dataset")): plan.code(stage, names) for stage, names in jobs
    }


def test_an_edit_changes_the_code_of_its_own_jobs_alone(outside):
    (outside / "far_cam.py").write_text(METHOD)
    write_photographs()
    before = codes(planned(outside))
    (outside / "far_cam.py").write_text(METHOD.replace("share of feature channels dropped", "other words"))
    assert codes(planned(outside)) == before
    (outside / "far_cam.py").write_text(METHOD.replace(".relu()", ".clamp(min=0)"))
    after = codes(planned(outside))
    changed = {key for key in before if before[key] != after[key]}
    stages = ("train_classifier", "classification", "cams")  # masks are made from these
    assert changed == {(stage, "far", "0") for stage in stages}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [("    x: Missing", ":12: NameError: name 'Missing' is not defined"), ("    x: = 3", ":13: invalid syntax")],
)
def test_a_fault_in_what_planning_reads(outside, wrong, told):
    text = METHOD.replace('    dropout: Share = Field(description="share of feature channels dropped")', wrong)
    (outside / "far_cam.py").write_text(text)
    message = refused(lambda: planned(outside))
    assert message == f"{outside}/far_cam.py{told}; correct it"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("        super().__init__()", "        super().__init__()\n        raise KeyError('layer')"),  # as it is built
        ("import torch\n", "import torch\n\nraise KeyError('layer')\n"),  # as it is imported
        ("        return {", "        raise KeyError('layer')\n        return {"),  # in training
    ],
)
def test_a_fault_in_a_stage_names_its_file_and_leaves_the_traceback(outside, before, after, capsys):
    text = METHOD.replace(before, after, 1)
    (outside / "far_cam.py").write_text(text)
    line = text[: text.index("raise KeyError")].count("\n") + 1
    write_photographs()
    plan = planned(outside)
    assert stage_runs.run(plan, "index") is None
    message = stage_runs.run(plan, "train_classifier", seed="0", classifier="far")
    assert message == f"error: {outside}/far_cam.py:{line}: KeyError: 'layer'; correct this file"
    assert "Traceback" in capsys.readouterr().err


def test_all_that_planning_asks_of_a_rule_a_segmenter_a_detector_and_an_affinity_network(outside):
    write_photographs()
    head = "from typing import Annotated, ClassVar\n" + HEAD
    for name, text in WITHOUT_CODE.items():
        (outside / f"{name}.py").write_text(head + text if text else "")
    over = {"plugins": [str(outside)]} | yaml.safe_load(SETTINGS)
    plan = plan_of(CSV, over=over, systems=["flat", "paired"])
    jobs = list(plan.jobs("mine"))
    assert all(plan.code(*job) and plan.settings(*job) for job in jobs)
    modules = {name.rpartition(".")[2] for job in jobs for name in plan.modules(*job)}
    assert {*WITHOUT_CODE} <= modules
    needs = {need.path: need for job in jobs for need in of_job(plan.config, *job)}
    assert (
        needs["best.onnx"]
        .line()
        .startswith("best.onnx: missing; model of saliency.seen; get it from https://example.org")
    )
    assert needs["no_such_package"].way == "run pip install it" and not needs["x"].blocks


@pytest.mark.parametrize("name", OTHERS)
def test_every_family_is_open(outside, name):
    family, text, block = OTHERS[name]
    (outside / f"{name}.py").write_text(HEAD + text)
    families.use([str(outside)])
    from workflow_scripts.config.typed import typed

    about = families.FAMILIES[family]
    found = typed(families.union(family), block, family)
    assert families.module(found) == f"{about.folder}.{name}"
    assert fingerprint._path(f"{about.folder}.{name}") == outside / f"{name}.py"
    families.use([])
    assert f"'{block[about.key]}'" in refused(lambda: typed(families.union(family), block, family))


@pytest.mark.parametrize(
    ("file", "text", "told"),
    [
        ("eps.py", METHOD, "methods/eps.py has this name"),
        ("seam.py", METHOD, "far_cam are looked for in far_cam.py"),
        ("far_cam.py", METHOD + "\nfrom workflow_scripts.stages import cams\n", "imports workflow_scripts.stages.cams"),
        ("far_cam.py", METHOD + "\nfrom workflow_scripts.methods import eps\n", "imports workflow_scripts.methods.eps"),
        ("far_cam.py", METHOD + "\nfrom . import other\n", "a relative import"),
        ("far_cam.py", METHOD + HEAD + OTHERS["flat_mask"][1], "has blocks of methods and refine"),
        (
            "far_cam.py",
            METHOD + "\nfrom workflow_scripts.config import resolve\n",
            "imports workflow_scripts.config.resolve",
        ),
        ("far_cam.py", METHOD.replace("Options(Block)", "Options(Block, nn.Module)"), "uses 'torch'"),
    ],
)
def test_what_is_refused(outside, file, text, told):
    (outside / file).write_text(text)
    message = refused(lambda: planned(outside))
    assert message.startswith(str(outside / file)) and told in message and "\n" not in message


def test_a_second_folder_cannot_bring_the_same_module(outside):
    other = outside.parent / "other"
    other.mkdir()
    for folder in (outside, other):
        (folder / "far_cam.py").write_text(METHOD)
    families.use([str(outside), str(other)])
    assert refused(families.outside).startswith(f"{other}/far_cam.py: {outside}/far_cam.py has this name")


@pytest.mark.parametrize(("value", "told"), [("outside", "expected a list"), (["nowhere"], "nowhere: no such folder")])
def test_folders_that_are_none(outside, value, told):
    message = refused(lambda: plan_of(CSV, over={"plugins": value}))
    assert message.startswith("config: plugins: ") and told in message


def test_an_installed_package(outside, monkeypatch):
    """Its folder is known by its entry point; the package is not imported."""
    site = outside.parent / "site"
    package, about = site / "far_methods", site / "far_methods-1.0.dist-info"
    package.mkdir(parents=True)
    about.mkdir()
    (package / "__init__.py").write_text("raise ImportError('imported')\n")
    (package / "far_cam.py").write_text(METHOD)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: far-methods\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[wsss.plugins]\nfar = far_methods\n")
    monkeypatch.syspath_prepend(site)
    families.installed.cache_clear()
    families.use([])
    assert plugins.folders() == [str(package)]
    assert "far_cam" in str(families.union("classifiers"))
