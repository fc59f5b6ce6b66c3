"""What becomes stale: exactly what changed and what is made from it, as lists of the jobs that a dry run would run.

The small demo is run once; every test changes one thing, in a copy or by an overlay, and asks again.
"""

import ast
import json
import os
import random
import shutil
from functools import reduce

import pytest
import yaml
from conftest import SMALL, SOURCES, copy_sources
from demo_graph import MADE_FROM, below, demo, edit, of, stale

from workflow_scripts.config.fingerprint import canonical, closure, code_digest
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config, merge


def test_the_graph(tmp_path):
    """Without results, everything; the list by hand is that of the workflow."""
    assert stale(copy_sources(tmp_path)) == set(MADE_FROM)


# Nothing


def test_after_a_run_nothing_is_stale(tree):
    assert stale(tree) == set()


def test_a_copied_tree(clone):
    assert stale(clone) == set()


def test_a_copy_with_new_dates_in_another_order(tree, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(tree, folder, copy_function=shutil.copyfile)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        date = 1_700_000_000 + random.Random(path.name).randrange(10_000_000)
        os.utime(path, (date, date))
    assert stale(folder) == set()


def test_touched_files(clone):
    files = [path for path in clone.rglob("*") if path.is_file()]
    random.Random(0).shuffle(files)
    for path in files:
        path.touch()
    assert stale(clone) == set()


def reordered(value):
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in reversed(value.items())}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def test_reordered_keys_and_lost_comments(clone):
    for name in SMALL:
        path = clone / name
        path.write_text(yaml.safe_dump(reordered(yaml.safe_load(path.read_text())), sort_keys=False))
    assert stale(clone) == set()


def test_docstrings_comments_and_layout_of_all_code(clone):
    for path in (clone / "workflow_scripts").rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)):
            documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
                node, clean=False
            )
            if documented:
                text = text.replace(f'"""{documented}', f'"""Edited. {documented}', 1)
        text = text.replace("\ndef ", "\n\n# A comment.\ndef ").replace(" = (\n", " = (  # another\n\n")
        path.write_text(text + "# The end.\n")
        ast.parse(path.read_text())
    for path in [clone / "Snakefile", *(clone / "rules").iterdir()]:
        path.write_text(path.read_text() + "\n\n# A comment.\n")
    assert stale(clone) == set()


UNUSED = {
    "a block that nothing uses": {"cams": {"mine": {"base": "eps", "scales": [2]}}},
    "a block of another system": {"classifiers": {"eps_naive": {"options": {"overlap_threshold": 0.3}}}},
    "another data set": {"datasets": {"voc": {"seeds": [1, 2]}}},
    "a base value that the demo overrides": {"segmenters": {"large_fov": {"recipe": {"iterations": 7}}}},
    "equal numbers, written otherwise": {"classifiers": {"base_cnn": {"recipe": {"weight_decay": "5e-4"}}}},
    "resources": {"datasets": {"demo": {"gpus": 1}}},
    "how often a training is saved": demo(
        saliency={"rendered": {"recipe": {"save_every": 3}}},
        classifiers={name: {"recipe": {"save_every": 3}} for name in ("base_cnn", "mctformer_v2")},
        affinities={name: {"recipe": {"save_every": 3}} for name in ("base_affinity_net", "cam_irn")},
        segmenters={"large_fov": {"recipe": {"save_every": 3}}},
    ),
    "a threshold where a split chooses one": {"datasets": {"demo": {"threshold": 0.3}}},
    "a published figure of another data set": {"systems": {"cam": {"published": []}}},
}


def test_what_no_job_of_the_demo_uses(tree, overlay):
    assert stale(tree, overlay(reduce(merge, UNUSED.values()))) == set()


# One change in each kind of block

SYSTEMS = yaml.safe_load((SOURCES / "tests" / "small.yaml").read_text())["datasets"]["demo"]["systems"]
CHANGES = {
    "saliency": (demo(saliency={"rendered": {"data": {"rendered": 17}}}), below("train_saliency rendered")),
    "saliency recipe": (
        {"saliency": {"rendered": {"recipe": {"weight_decay": 0.01}}}},
        below("train_saliency rendered"),
    ),
    "what classifiers share": (
        {"classifiers": {"base_cnn": {"recipe": {"weight_decay": 0.01}}}},
        below("train_classifier cam", "train_classifier eps", "train_classifier bana"),
    ),
    "classifier cam": (
        demo(classifiers={"cam": {"options": {"dropout": 0.3}}}),
        below("train_classifier cam"),
    ),
    "classifier eps": (
        {"classifiers": {"eps": {"options": {"foreground_weight": 0.6}}}},
        below("train_classifier eps"),
    ),
    "classifier eps of this data set": (
        demo(classifiers={"eps": {"recipe": {"jitter": {"hue": 0.2}}}}),
        below("train_classifier eps"),
    ),
    "classifier seenet": ({"classifiers": {"seenet": {"options": {"high": 0.8}}}}, below("train_classifier seenet")),
    "classifier bana": ({"classifiers": {"bana": {"options": {"roi_size": 1}}}}, below("train_classifier bana")),
    "mask bana": ({"masks": {"bana": {"softmax": False}}}, below("masks bana")),
    "segmenter bana": ({"segmenters": {"bana": {"loss": {"gamma": 5}}}}, below("train_segmenter bana/bana")),
    "cam seenet": ({"cams": {"seenet": {"upsampling": "bilinear"}}}, below("cams seenet")),
    "mask seenet": ({"masks": {"seenet": {"weight": 2}}}, below("masks seenet")),
    "classifier mctformer_v2": (
        {"classifiers": {"mctformer_v2": {"recipe": {"rand_augment": {"operations": 1}}}}},
        below("train_classifier mctformer_v2"),
    ),
    "share of patches": (
        {"cams": {"semantic_modulation": {"attention": {"modulation": {"fraction": 0.2}}}}},
        below("cams semantic_modulation"),
    ),
    "layers of transformers": (
        {"cams": {"base_transformer": {"attention": {"class_layers": 2}}}},
        below("cams semantic_modulation"),
    ),
    "what cams share": ({"cams": {"base": {"flip": False}}}, below(*of("cams"))),
    "cam eps": ({"cams": {"eps": {"scales": [1, 2]}}}, below("cams eps")),
    "mask threshold, inherited by eps_crf": (
        {"masks": {"eps": {"threshold": 0.25}}},
        below("masks eps", "masks eps_crf"),
    ),
    "mask threshold": (demo(masks={"eps_crf": {"threshold": 0.25}}), below("masks eps_crf")),
    "affinity recipe": (
        {"affinities": {"cam": {"recipe": {"weight_decay": 0.01}}}},
        below("train_affinity cam"),
    ),
    "affinity labels": ({"affinities": {"cam": {"labels": {"high": 24}}}}, below("affinity_labels cam")),
    "affinity irn": (demo(affinities={"cam_irn": {"labels": {"foreground": 0.35}}}), below("affinity_labels cam_irn")),
    "affinity, as the walk reads it": (
        demo(affinities={"cam": {"radius": 3}}),
        below("train_affinity cam"),
    ),
    "walk": ({"masks": {"cam_affinity": {"beta": 4}}}, below("masks cam_affinity")),
    "mask crf": ({"masks": {"eps_crf": {"crf": {"iterations": 9}}}}, below("masks eps_crf")),
    "mask from another cam": ({"masks": {"eps_learnt": {"rule": "constant", "threshold": 0.2}}}, below("masks eps_learnt")),
    "segmenter": (
        demo(segmenters={"large_fov": {"dropout": 0.3}}),
        below("train_segmenter eps/large_fov", "train_segmenter truth/large_fov"),
    ),
    "segmenter recipe": (
        {"segmenters": {"large_fov": {"recipe": {"weight_decay": 0.01}}}},
        below("train_segmenter eps/large_fov", "train_segmenter truth/large_fov"),
    ),
    "what predictions share": (demo(predictions={"base_network": {"resolution": 1}}), below(*of("predictions"))),
    "prediction": ({"predictions": {"multi": {"flip": True}}}, below("predictions eps/large_fov/multi")),
    "prediction crf": (
        {"predictions": {"multi_crf": {"crf": {"gaussian": [1, 4]}}}},
        below("predictions eps/large_fov/multi_crf"),
    ),
    "split": ({"datasets": {"demo": {"splits": {"thresholds": {"first": 5}}}}}, below("index")),
    "seed of the renderer": ({"datasets": {"demo": {"seed": 1}}}, below("render")),
    "limit": ({"datasets": {"demo": {"limit": 20}}}, below("render")),
    "threads that decide bytes": (
        {"datasets": {"demo": {"torch_threads": 2}}},
        below(*of("train_saliency", "train_classifier", "train_affinity", "train_segmenter")),
    ),
    "images in a montage": ({"datasets": {"demo": {"montage": 2}}}, below(*of("montage"))),
    "system taken away": (
        {"datasets": {"demo": {"systems": [name for name in SYSTEMS if name != "eps_crf"]}}},
        below("miou"),
    ),
    "system added": (
        {"datasets": {"demo": {"systems": ["cam_crf", *SYSTEMS]}}},
        {"masks cam_crf", "score_masks cam_crf", "montage cam_crf", *below("miou")},
    ),
    "systems in another order": (
        {"datasets": {"demo": {"systems": ["truth", *SYSTEMS[:-1]]}}},
        below("miou", "curves"),
    ),
    "seed added": (
        {"datasets": {"demo": {"seeds": [0, 1]}}},
        below("miou", "curves")
        | {
            job.replace(" ", " 1/")
            for job in of("train_classifier", "classification", "cams", "thresholds", "masks", "train_segmenter")
            + of("affinity_labels", "train_affinity")
            + of("predictions", "score_cams", "score_masks", "score_predictions")
        },
    ),
    "published figure": (
        {
            "systems": {
                "cam": {"published": [{"dataset": "demo", "split": "train", "stage": "cam", "miou": 1, "source": "x"}]}
            }
        },
        below("miou"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_changed_setting(tree, overlay, change, expected):
    assert stale(tree, overlay(change)) == expected


SWAPS = {
    "two booleans": ("predictions.single", "flip", "align_corners", below(*of("predictions"))),
    "two shares": ("classifiers.eps", "options.overlap_threshold", "options.foreground_weight", below("train_classifier eps")),
    "two numbers of a recipe": ("classifiers.eps", "recipe.poly_power", "recipe.head_multiplier", below("train_classifier eps")),
    "two numbers of a list": ("masks.eps_crf", "crf.gaussian.0", "crf.gaussian.1", below("masks eps_crf")),
}  # fmt: skip


def inside(settings, dotted: str):
    """What holds the value at 'crf.gaussian.0', and its key there."""
    *path, last = [int(key) if key.isdigit() else key for key in dotted.split(".")]
    for key in path:
        settings = settings[key]
    return settings, last


@pytest.mark.parametrize(("block", "one", "other", "expected"), SWAPS.values(), ids=SWAPS)
def test_swapped_values(tree, overlay, block, one, other, expected):
    """Snakemake alone does not see that two equal-looking params change places."""
    kind, name = block.split(".")
    settings = Config.load(*(tree / name for name in SMALL)).block("demo", kind, name).model_dump(mode="json")
    (here, first), (there, second) = (inside(settings, dotted) for dotted in (one, other))
    assert here[first] != there[second]
    here[first], there[second] = there[second], here[first]
    changed = "base_network" if kind == "predictions" else name  # what multi shares too
    assert stale(tree, overlay(demo(**{kind: {changed: settings}}))) == expected


# Edited code

NETWORKS = ("train_classifier", "classification", "cams", "train_affinity", "train_segmenter")
TRAINED = of("train_saliency", "train_classifier", "train_affinity", "train_segmenter")
EDITS = {
    "refine/dense_crf.py": below(
        *of("affinity_labels"), "masks eps_crf", "masks bana", "predictions eps/large_fov/multi_crf"
    ),
    "refine/background.py": below(*(job for job in of("masks") if job != "masks truth")),
    "data/maps.py": below(
        *(job for job in of("masks") if job != "masks truth"),
        *of("cams", "predictions", "score_saliency", "score_masks", "montage"),
    ),
    "refine/affinity.py": below(*of("train_affinity")),
    "refine/affinity_net.py": below("train_affinity cam"),
    "refine/affinity_net_label.py": below("affinity_labels cam"),
    "refine/irn.py": below("train_affinity cam_irn"),
    "refine/irn_label.py": below("affinity_labels cam_irn"),
    "refine/constant_mask.py": below(
        "masks cam", "masks eps", "masks eps_chosen", "masks eps_crf", "masks semantic_modulation"
    ),
    "refine/learnt_mask.py": below("masks eps_learnt"),
    "refine/salient_label_mask.py": below("masks labels_saliency"),
    "refine/random_walk.py": below("masks cam_affinity", "masks cam_irn"),
    "refine/random_walk_mask.py": below("masks cam_affinity"),
    "refine/edge_walk_mask.py": below("masks cam_irn"),
    "data/samples/affinity_net_samples.py": below("train_affinity cam"),
    "data/samples/classification_samples.py": below(*of("train_classifier")),
    "data/samples/segmentation_samples.py": below("train_affinity cam_irn", *of("train_segmenter")),
    "data/samples/salient_samples.py": below("train_saliency rendered"),
    "data/samples/salient_rendered.py": below("train_saliency rendered"),
    "methods/eps.py": below("train_classifier eps"),
    "methods/cam.py": below("train_classifier cam", "cams seenet"),
    "methods/seenet.py": below("train_classifier seenet"),
    "refine/proxy.py": below("masks seenet"),
    "refine/proxy_mask.py": below("masks seenet"),
    "networks/saliency_small.py": below("train_saliency rendered"),
    "detectors/network.py": below("train_saliency rendered"),
    "segmentation/large_fov.py": below("train_segmenter eps/large_fov", "train_segmenter truth/large_fov"),
    "segmentation/cosine.py": below("train_segmenter bana/bana"),
    "methods/bana.py": below("train_classifier bana"),
    "data/boxes.py": below("train_classifier bana", *of("montage")),
    "data/samples/box_samples.py": below("train_classifier bana"),
    "data/samples/scaled_crops.py": below("train_classifier bana"),
    "data/samples/cosine_samples.py": below("train_segmenter bana/bana"),
    "refine/box_unary.py": below("masks bana"),
    "refine/box_unary_mask.py": below("masks bana"),
    "evaluation/filling_rate.py": below("filling_rates"),
    "methods/mctformer.py": below("train_classifier mctformer_v2"),
    "methods/semantic_modulation.py": below("cams semantic_modulation"),
    "networks/vision_transformer.py": below("train_classifier mctformer_v2"),
    "data/samples/area_samples.py": below("train_classifier mctformer_v2"),
    "data/samples/rand_augment.py": below("train_classifier mctformer_v2"),
    "networks/tiny.py": below(*of(*NETWORKS)),
    "segmentation/losses.py": below(*of("train_segmenter")),
    "evaluation/miou.py": below(*of("thresholds", "score_cams", "score_masks", "score_predictions", "miou")),
    "evaluation/saliency.py": below("score_saliency rendered"),
    "evaluation/classification.py": below(*of("classification")),
    "training/loop.py": below(*TRAINED),
    "training/state.py": below(*TRAINED),
    "training/processes.py": below(*TRAINED),
    "training/step.py": below(*TRAINED),
    "data/samples/canvas.py": below(*TRAINED),
    "training/imported.py": below(*of("train_classifier", "train_affinity", "train_segmenter")),
    "data/synthetic/synthetic.py": below("render"),
    "data/synthetic/synthetic_salient.py": below("train_saliency rendered"),
    "stages/cams.py": below(*of("cams")),
    "stages/scores.py": below(*of("score_saliency", "score_cams", "score_masks", "score_predictions")),
    "stages/curves.py": below("curves"),
    "look/chart_plots.py": below("charts"),
    "store/artifacts.py": set(MADE_FROM),
    "run/command.py": set(MADE_FROM),
    "base/digests.py": set(MADE_FROM),
    "run/gpus.py": set(MADE_FROM),
    "data/by_image.py": below(*of("saliency", "cams", "affinity_labels", "masks", "predictions")),
}


ELSEWHERE = (
    "networks/mobilenet_v2.py",
    "networks/resnet38.py",
    "networks/timm.py",
    "networks/saliency_pfan.py",
    "networks/saliency_dss.py",
    "detectors/hand_made.py",
    "detectors/rembg.py",
    "data/samples/salient_folder.py",
    "data/samples/salient_maps.py",
    "segmentation/aspp.py",
    "refine/boxes.py",
    "refine/grabcut_mask.py",
    "data/kinds/voc.py",
    "data/kinds/csv.py",
    "data/readers/voc_masks.py",
    "data/readers/coco_masks.py",
    "base/listings.py",
    "workflow/runs.py",
    "config/planning/plan.py",
    "config/planning/tunings.py",
    "config/planning/jobs/pictures.py",
    "look/grid_plots.py",
    "config/planning/jobs/paper_tables.py",
    "stages/paper_table.py",
    "evaluation/boundary.py",
    "stages/tune.py",
    "stages/cost.py",
    "stages/gallery.py",
    "store/folders.py",
    "stages/estimated_saliency.py",
    "commands/verify.py",
    "commands/inspect.py",
    "base/errors.py",
    "base/stopping.py",
)


@pytest.mark.parametrize(("module", "expected"), EDITS.items(), ids=EDITS)
def test_edited_code(clone, module, expected):
    edit(clone, module)
    assert stale(clone) == expected


def test_edited_code_that_no_job_of_the_demo_uses(clone):
    edit(clone, *ELSEWHERE)
    assert stale(clone) == set()


def test_one_changed_number_in_a_kernel(clone):
    path = clone / "workflow_scripts" / "refine" / "dense_crf.py"
    text = path.read_text()
    assert text.count("1e-5, 1)") == 1
    path.write_text(text.replace("1e-5, 1)", "1e-6, 1)"))
    assert stale(clone) == EDITS["refine/dense_crf.py"]


def test_code_that_a_stage_ran_is_code_that_it_is_watched_for(tree):
    """Sidecars list the modules that were loaded; the digest of the code must hold all of them."""
    plan = Plan(Config.load(*(tree / name for name in SMALL)))
    for stage, wildcards in plan.jobs("demo"):
        watched = set(closure(plan.modules(stage, wildcards)))
        assert {"run.command", "store.provenance", "store.artifacts", "base.errors"} <= watched
        for path in plan.outputs(stage, wildcards).values():
            loaded = set(json.loads((tree / f"{path}.json").read_text())["modules"])
            assert {"run.command", "store.provenance", "store.artifacts", "base.errors"} <= loaded
            # Classes of blocks are left out, as their values are settings; types are loaded with them.
            loaded = {name for name in loaded if name.partition(".")[0] != "config"}
            assert loaded <= watched, f"{stage} {wildcards} loads what its digest does not hold"


def test_the_digest_of_code():
    assert code_digest(["methods.eps"]) != code_digest(["methods.cam"])
    assert code_digest(["methods.eps", "methods.cam"]) == code_digest(["methods.eps", "methods.cam", "methods.eps"])
    assert "methods.eps" not in closure(["stages.train_classifier", "methods.cam"])
    assert {"stages", "methods", "networks", "training.loop"} <= set(closure(["stages.train_classifier"]))


def test_one_text_for_equal_settings():
    one, other = {"b": 1, "a": {"y": [1, 2], "x": None}}, {"a": {"x": None, "y": [1, 2]}, "b": 1}
    assert canonical(one) == canonical(other) == '{"a":{"x":null,"y":[1,2]},"b":1}'
    assert canonical({"a": [1, 2]}) != canonical({"a": [2, 1]}) and canonical({"a": 1}) != canonical({"a": 1.5})


def test_what_a_module_imports_counts():
    assert "refine.affinity" in closure(["refine.random_walk"])
    assert {"config.fingerprint", "config"} <= set(closure(["config.planning.plan"]))
