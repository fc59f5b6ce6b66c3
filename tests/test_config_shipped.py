"""What is shipped: any system can be planned, the editor's schema is that of the types, and numbers are explained."""

import json
import re

import jsonschema
import pytest
from conftest import SOURCES, put

from workflow_scripts.config.planning import systems
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.reference import SECTIONS, reference
from workflow_scripts.config.resolve import Config
from workflow_scripts.config.schema import schema
from workflow_scripts.config.yaml_files import read_yaml

OVERLAYS = sorted((SOURCES / "configs").glob("*.yaml")) + [SOURCES / "tests" / "small.yaml"]


@pytest.mark.parametrize("overlay", [None, *OVERLAYS], ids=lambda path: path.name if path else "config.yaml")
def test_every_system_of_every_data_set_can_be_planned(overlay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where no data lie, and digests of sources may be kept
    config = Config.load(*([overlay] if overlay else []))
    for name in config.datasets:
        made: set[str] = set()
        plan = Plan(config)
        for stage, wildcards in plan.jobs(name):
            job = plan.job(stage, wildcards)
            parents = [path for value in job.inputs.values() for path in ([value] if isinstance(value, str) else value)]
            assert {path for path in parents if path.startswith("results/")} <= made, "inputs come before their users"
            made |= set(plan.outputs(stage, wildcards).values())
            assert json.loads(plan.settings(stage, wildcards)) is not None
            assert re.fullmatch("[0-9a-f]{32}", plan.code(stage, wildcards))
        assert made >= set(plan.targets(name))
        stages = {row["stage"] for system in config.dataset(name).systems for row in systems.rows(config, name, system)}
        assert stages >= {"mask", "segmentation", "segmentation_crf"}
        assert config.dataset(name).gallery, f"{name} has no gallery, which README and tutorial promise"


def test_any_system_can_be_used_on_any_data_set(raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "voc"):
        systems = [system for system in raw["systems"] if name != "demo" or "predefined" not in system]
        plan = Plan(Config(put(raw, f"datasets.{name}.systems", systems)))
        made = {path for stage, names in plan.jobs(name) for path in plan.outputs(stage, names).values()}
        assert {f"results/{name}/pictures/{system}.png" for system in systems} <= made


# EPS, Tables 3 to 7 and 5.3 on detectors; EPS with AffinityNet, Table 2; released weights of EPS for COCO
FIGURES = {
    ("cam_resnet38", "voc", "train", "cam"): 48.0,
    ("cam_affinity_resnet38", "voc", "train", "mask"): 58.1,
    ("cam_affinity_vgg16", "voc", "val", "segmentation_crf"): 58.4,
    ("cam_affinity_vgg16", "voc", "test", "segmentation_crf"): 60.5,
    ("eps_unselected_resnet38", "voc", "train", "mask"): 66.1,
    ("eps_naive_resnet38", "voc", "train", "mask"): 66.5,
    ("eps_predefined_resnet38", "voc", "train", "mask"): 67.9,
    ("eps_resnet38", "voc", "train", "mask"): 69.4,
    ("eps_crf_resnet38", "voc", "train", "mask"): 71.4,
    ("eps_affinity_resnet38", "voc", "train", "mask"): 71.6,
    ("eps_resnet38_vgg16", "voc", "val", "segmentation_crf"): 66.6,
    ("eps_resnet38_vgg16", "voc", "test", "segmentation_crf"): 67.9,
    ("eps_resnet38_vgg16_v2", "voc", "val", "segmentation_crf"): 67.0,
    ("eps_resnet38_vgg16_v2", "voc", "test", "segmentation_crf"): 67.3,
    ("eps_resnet38", "voc", "val", "segmentation_crf"): 71.0,
    ("eps_resnet38", "voc", "test", "segmentation_crf"): 71.8,
    ("eps_resnet38_v2", "voc", "val", "segmentation_crf"): 70.9,
    ("eps_resnet38_v2", "voc", "test", "segmentation_crf"): 70.8,
    ("eps_coco_resnet38", "coco", "val", "segmentation_crf"): 35.7,
    ("eps_coco_resnet38", "coco", "train", "mask"): 37.15,
    ("cam_coco_resnet38", "coco", "train", "mask"): 31.23,
    ("eps_pfan_resnet38", "voc", "val", "segmentation_crf"): 71.0,
    ("eps_dss_resnet38", "voc", "val", "segmentation_crf"): 70.0,
    ("eps_usps_resnet38", "voc", "val", "segmentation_crf"): 68.8,
    ("eps_usps_resnet38", "voc", "test", "segmentation_crf"): 69.9,
    ("eps_reproduced_resnet38", "voc", "val", "segmentation_crf"): 69.22,
    ("eps_reproduced_resnet38_v2", "voc", "val", "segmentation_crf"): 69.71,
    ("eps_affinity_resnet38", "voc", "val", "segmentation_crf"): 70.46,
    ("eps_affinity_resnet38_v2", "voc", "val", "segmentation_crf"): 71.38,
}


def test_published_figures_stand_beside_the_system_that_they_are_of(raw):
    for system, dataset, split, stage in FIGURES:
        block = Config(raw).block("voc", "systems", system)
        found = [
            item.miou for item in block.published if (item.dataset, item.split, item.stage) == (dataset, split, stage)
        ]
        assert found == [FIGURES[system, dataset, split, stage]], system
        if dataset == "voc" and split != "test":  # a row of the table has the figure
            rows = systems.rows(Config(raw), "voc", system)
            shown = {
                item["miou"]
                for row in rows
                if (row["split"], row["stage"]) == (split, stage)
                for item in row["published"]
            }
            assert shown == set(found)


def test_the_networks_of_the_published_figures(raw):
    """What stands behind a figure: the backbone, the head, the detector and the numbers of EPS's recipe for COCO."""
    config = Config(raw)

    def classifier(system: str):
        cam = config.block("voc", "masks", config.block("voc", "systems", system).mask).cam
        return config.block("voc", "classifiers", config.block("voc", "cams", cam).classifier)

    for system in (
        "eps_resnet38",
        "eps_naive_resnet38",
        "eps_dss_resnet38",
        "eps_affinity_hard_resnet38",
        "eps_coco_resnet38",
    ):
        block = classifier(system)
        assert (block.method, block.backbone.name, block.options.overlap_threshold) == ("eps", "resnet38", 0.4)
        assert block.options.foreground_weight == (0.9 if "coco" in system else 0.5)
    detectors = [
        config.block("voc", "saliency", classifier(f"eps_{name}_resnet38").saliency) for name in ("pfan", "dss", "usps")
    ]
    assert [block.path for block in detectors] == ["data/saliency/pfan", "data/saliency/dss", "data/saliency/usps"]
    recipe = classifier("eps_coco_resnet38").recipe
    assert recipe == classifier("cam_coco_resnet38").recipe
    assert (recipe.iterations, recipe.batch, recipe.crop, recipe.long_side) == (76950, 16, 321, (256, 448))
    assert recipe.learning_rate == 0.01
    wide = config.block("voc", "affinities", config.block("voc", "masks", "eps_affinity_wide_resnet38").affinity)
    assert (wide.head, wide.distance, wide.labels.high) == (896, "sum", 24)


def test_maps_and_pyramids_are_those_of_the_published_code_but_for_the_named_ones(raw):
    """PSA takes a root on VGG16 alone. Of the pyramids BANA's is ours, and the published one stands beside it."""
    config = Config(raw)
    roots = {name for name in config.names("voc", "cams") if config.block("voc", "cams", name).square_root}
    assert roots == {"cam_vgg16"}
    given = {name: config.block("voc", "predictions", name) for name in config.names("voc", "predictions")}
    resized = {
        name: block.resize for name, block in given.items() if hasattr(block, "resize") and len(block.scales) > 1
    }
    ours, corners = {"bana_multi": "antialiased"}, "bilinear_corners"
    assert resized == ours | {"multi": "bilinear", "bana_published": corners, "five": corners}
    assert given["bana_published_crf"].prediction == given["bana_published_crf_vgg16"].prediction == "bana_published"
    for name, other in (("bana_published", "bana_multi"), ("bana_published_crf_vgg16", "bana_multi_crf_vgg16")):
        differing = {key for key, value in given[name] if value != getattr(given[other], key)}
        assert differing == {"resize" if name == "bana_published" else "prediction"}
    small = config.block("demo", "predictions", "multi")
    assert (small.resize, small.merge) == ("antialiased", "mean")  # the demo's own


def test_the_reference_is_that_of_the_types():
    page = (SOURCES / "docs" / "config.md").read_text(encoding="utf-8")
    assert page == reference(), "make schema writes it anew"
    assert {*SECTIONS, "plugins", "shards"} == set(schema()["properties"])
    headings = [line.lstrip("# ") for line in page.splitlines() if line.startswith("#")]
    parts = [heading for heading in headings if not heading.startswith("`")]
    assert len(parts) == len(set(parts))
    assert set(re.findall(r"\(#([^)]*)\)", page)) <= {part.lower() for part in parts}


def test_the_schema_for_editors_is_that_of_the_types(shipped):
    written = json.loads((SOURCES / "docs" / "config.schema.json").read_text(encoding="utf-8"))
    assert written == schema(), "make schema writes it anew"
    validator = jsonschema.Draft202012Validator(written)
    validator.check_schema(written)
    for data in [shipped, *map(read_yaml, OVERLAYS)]:
        assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(data)] == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("segmentors", {}),
        ("masks.eps.treshold", 0.3),
        ("classifiers.cam.recipe.learning_rat", 1),
        ("classifiers.cam.recipe.batch", "many"),
        ("datasets.voc.mask", "x"),
        ("systems.eps.mesk", "eps"),
    ],
)
def test_the_schema_refuses_what_the_types_refuse(raw, key, value):
    assert not jsonschema.Draft202012Validator(schema()).is_valid(put(raw, key, value))


def test_every_number_is_explained():
    """A number of a block has a comment on its line, or on the line of the key that holds it; tables name their source."""
    silent, section = [], ""
    above: list[tuple[int, str]] = []  # indentation and line of the keys that a line is in
    files = sorted((SOURCES / "library").rglob("*.yaml"))
    lines = (line for path in files for line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        indentation = len(line) - len(line.lstrip())
        above = [(depth, holder) for depth, holder in above if depth < indentation]
        section = line.split(":")[0] if re.match(r"\w", line) else section
        value = line.partition("#")[0].partition(":")[2]
        explained = {"systems", "instance_systems", "tables", "datasets"}
        if section not in explained and re.search(r"(?<![\w.])\d", value):
            if "#" not in line and "#" not in above[-1][1]:
                silent.append(f"{number}: {line.strip()}")
        above.append((indentation, line))
    assert silent == []
