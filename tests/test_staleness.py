"""What becomes stale: exactly what changed and what is made from it, as lists of the jobs that a dry run would run.

The small demo is run once; every test changes one thing, in a copy or by an overlay, and asks again.
"""

import ast
import json
import os
import random
import re
import shutil
from collections.abc import Iterable
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import SMALL, copy_sources, copy_tree, dry_run, python, run
from PIL import Image

from workflow_scripts.config.fingerprint import closure, code_digest
from workflow_scripts.config.plan import Plan
from workflow_scripts.config.resolve import Config, merge, read_yaml
from workflow_scripts.provenance import file_sha256

# The small demo by hand: every job, and the jobs that it is made from (those further up follow).
SCENES = ["render", "index"]
MADE_FROM = {
    "render": [],
    "index": ["render"],
    "truth": SCENES,
    "train_saliency rendered": [],
    "saliency rendered": [*SCENES, "train_saliency rendered"],
    "train_classifier cam": SCENES,
    "train_classifier eps": [*SCENES, "saliency rendered"],
    "classification cam": ["train_classifier cam"],
    "classification eps": ["train_classifier eps"],
    "cams cam": ["train_classifier cam"],
    "cams eps": ["train_classifier eps"],
    "thresholds cam": ["cams cam", "truth"],
    "thresholds eps": ["cams eps", "truth"],
    "masks cam": ["cams cam"],
    "masks eps": ["cams eps"],
    "masks eps_chosen": ["cams eps", "thresholds eps"],
    "masks eps_learnt": ["cams eps"],
    "masks eps_crf": ["cams eps"],
    "masks truth": ["truth"],
    "train_segmenter eps/large_fov": ["masks eps"],
    "train_segmenter truth/large_fov": ["masks truth"],
    "predictions eps/large_fov/single": ["train_segmenter eps/large_fov"],
    "predictions eps/large_fov/multi": ["train_segmenter eps/large_fov"],
    "predictions eps/large_fov/multi_crf": ["predictions eps/large_fov/multi"],
    "predictions truth/large_fov/single": ["train_segmenter truth/large_fov"],
    "score_saliency rendered": ["saliency rendered", "truth"],
    "score_cams cam": ["cams cam", "thresholds cam", "truth"],
    "score_cams eps": ["cams eps", "thresholds eps", "truth"],
    "score_masks cam": ["masks cam", "truth"],
    "score_masks eps": ["masks eps", "truth"],
    "score_masks eps_chosen": ["masks eps_chosen", "truth"],
    "score_masks eps_learnt": ["masks eps_learnt", "truth"],
    "score_masks eps_crf": ["masks eps_crf", "truth"],
    "score_masks truth": ["masks truth", "truth"],
    "score_predictions eps/large_fov/single": ["predictions eps/large_fov/single", "truth"],
    "score_predictions eps/large_fov/multi": ["predictions eps/large_fov/multi", "truth"],
    "score_predictions eps/large_fov/multi_crf": ["predictions eps/large_fov/multi_crf", "truth"],
    "score_predictions truth/large_fov/single": ["predictions truth/large_fov/single", "truth"],
    "montage cam": ["cams cam", "masks cam", "truth"],
    "montage eps": ["cams eps", "masks eps", "predictions eps/large_fov/single", "predictions eps/large_fov/multi_crf", "truth"],
    "montage eps_chosen": ["cams eps", "masks eps_chosen", "truth"],
    "montage eps_learnt": ["cams eps", "masks eps_learnt", "truth"],
    "montage eps_crf": ["cams eps", "masks eps_crf", "truth"],
    "montage truth": ["masks truth", "predictions truth/large_fov/single", "truth"],
}  # fmt: skip
MADE_FROM["curves"] = [job for job in MADE_FROM if job.startswith(("train_", "thresholds "))]
MADE_FROM["miou"] = [job for job in MADE_FROM if job.startswith(("score_", "classification "))]
MADE_FROM["pictures"] = ["curves", *(job for job in MADE_FROM if job.startswith("montage "))]


def below(*jobs: str) -> set[str]:
    """The jobs and all that is made from them."""
    assert set(jobs) <= set(MADE_FROM)
    found = set(jobs)
    while more := {job for job, parents in MADE_FROM.items() if job not in found and found & set(parents)}:
        found |= more
    return found


def of(*rules: str) -> list[str]:
    """All jobs of these rules."""
    return [job for job in MADE_FROM if job.split()[0] in rules]


def named(jobs: Iterable[tuple[str, str]]) -> set[str]:
    """Jobs as above: those of seed 0, the only one of the demo, without it."""
    return {f"{rule} {names.removeprefix('0/')}".strip() for rule, names in jobs}


def stale(folder: Path, *overlays: Path) -> set[str]:
    """The jobs that would run in a folder, with further configuration files."""
    return named(dry_run(folder, configfiles=[*SMALL, *overlays]))


@pytest.fixture
def overlay(tmp_path):
    """Write changed settings to a file of their own."""

    def write(change: dict) -> Path:
        path = tmp_path / "change.yaml"
        path.write_text(yaml.safe_dump(change))
        return path

    return write


def demo(**overrides) -> dict:
    """A change of blocks for the demo alone."""
    return {"datasets": {"demo": {"overrides": overrides}}}


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
    for path in [clone / "Snakefile", *(clone / "rules").glob("*.smk")]:
        path.write_text(path.read_text() + "\n\n# A comment.\n")
    assert stale(clone) == set()


UNUSED = {
    "a block that nothing uses": {"cams": {"mine": {"base": "eps", "scales": [2]}}},
    "a block of another system": {"classifiers": {"eps_naive": {"options": {"overlap_threshold": 0.3}}}},
    "another data set": {"datasets": {"voc": {"seeds": [1, 2]}}},
    "a base value that the demo overrides": {"segmenters": {"large_fov": {"recipe": {"iterations": 7}}}},
    "equal numbers, written otherwise": {"classifiers": {"cam": {"recipe": {"weight_decay": "5e-4"}}}},
    "resources": {"datasets": {"demo": {"gpus": 1}}},
    "a threshold where a split chooses one": {"datasets": {"demo": {"threshold": 0.3}}},
    "a published figure of another data set": {"systems": {"cam": {"published": []}}},
}


def test_what_no_job_of_the_demo_uses(tree, overlay):
    assert stale(tree, overlay(reduce(merge, UNUSED.values()))) == set()


# One change in each kind of block

CHANGES = {
    "saliency": (demo(saliency={"rendered": {"images": 17}}), below("train_saliency rendered")),
    "saliency recipe": (
        {"saliency": {"rendered": {"recipe": {"weight_decay": 0.01}}}},
        below("train_saliency rendered"),
    ),
    "classifier, inherited by eps": (
        {"classifiers": {"cam": {"recipe": {"weight_decay": 0.01}}}},
        below("train_classifier cam", "train_classifier eps"),
    ),
    "classifier, not inherited by eps": (
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
    "cam, inherited by eps": ({"cams": {"cam": {"flip": False}}}, below("cams cam", "cams eps")),
    "cam eps": ({"cams": {"eps": {"scales": [1, 2]}}}, below("cams eps")),
    "mask threshold, inherited by eps_crf": (
        {"masks": {"eps": {"threshold": 0.25}}},
        below("masks eps", "masks eps_crf"),
    ),
    "mask threshold": (demo(masks={"eps_crf": {"threshold": 0.25}}), below("masks eps_crf")),
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
    "prediction, inherited by multi": (demo(predictions={"single": {"resolution": 1}}), below(*of("predictions"))),
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
        below(*of("train_saliency", "train_classifier", "train_segmenter")),
    ),
    "images in a montage": ({"datasets": {"demo": {"montage": 2}}}, below(*of("montage"))),
    "system taken away": (
        {"datasets": {"demo": {"systems": ["cam", "eps", "eps_chosen", "eps_learnt", "truth"]}}},
        {"miou", "pictures"},
    ),
    "system added": (
        {"datasets": {"demo": {"systems": ["cam", "cam_crf", "eps", "eps_chosen", "eps_learnt", "eps_crf", "truth"]}}},
        {"masks cam_crf", "score_masks cam_crf", "montage cam_crf", "miou", "pictures"},
    ),
    "systems in another order": (
        {"datasets": {"demo": {"systems": ["truth", "cam", "eps", "eps_chosen", "eps_learnt", "eps_crf"]}}},
        {"miou", "curves", "pictures"},
    ),
    "seed added": (
        {"datasets": {"demo": {"seeds": [0, 1]}}},
        {"miou", "curves", "pictures"}
        | {
            job.replace(" ", " 1/")
            for job in of("train_classifier", "classification", "cams", "thresholds", "masks", "train_segmenter")
            + of("predictions", "score_cams", "score_masks", "score_predictions")
        },
    ),
    "published figure": (
        {
            "systems": {
                "cam": {"published": [{"dataset": "demo", "split": "train", "stage": "cam", "miou": 1, "source": "x"}]}
            }
        },
        {"miou"},
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
    assert stale(tree, overlay(demo(**{kind: {name: settings}}))) == expected


# Edited code

NETWORKS = ("train_classifier", "classification", "cams", "train_segmenter")
SOFT = [job for job in of("predictions") if not job.endswith("_crf")]
EDITS = {
    "refine/dense_crf.py": below("masks eps_crf", "predictions eps/large_fov/multi_crf"),
    "refine/background.py": below(
        *(job for job in of("masks") if job != "masks truth"),
        *of("thresholds", "score_cams", "montage"),
        *(f"score_{job}" for job in SOFT),
        "predictions eps/large_fov/multi_crf",
    ),
    "methods/eps.py": below("train_classifier eps"),
    "methods/cam.py": below("train_classifier cam"),
    "networks/tiny.py": below(*of(*NETWORKS)),
    "networks/saliency.py": below("train_saliency rendered"),
    "segmentation/large_fov.py": below(*of("train_segmenter")),
    "evaluation/miou.py": below(*of("thresholds", "score_cams", "score_masks", "score_predictions", "miou")),
    "evaluation/saliency.py": below("score_saliency rendered"),
    "evaluation/classification.py": below(*of("classification")),
    "training/loop.py": below(*of("train_saliency", "train_classifier", "train_segmenter")),
    "data/synthetic.py": below("render"),
    "stages/cams.py": below(*of("cams")),
    "stages/scores.py": below(*of("score_saliency", "score_cams", "score_masks", "score_predictions")),
    "stages/curves.py": below("curves"),
    "artifacts.py": set(MADE_FROM),
    "command.py": set(MADE_FROM),
}


ELSEWHERE = (
    "networks/mobilenet_v2.py",
    "data/voc.py",
    "data/csv_table.py",
    "config/plan.py",
    "verify.py",
    "inspect.py",
)


def edit(folder: Path, *modules: str) -> None:
    """Add a statement to modules."""
    for module in modules:
        with open(folder / "workflow_scripts" / module, "a") as file:
            file.write("\n\nEDITED = True\n")


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
        assert {"command", "provenance", "artifacts", "errors"} <= watched
        for path in plan.outputs(stage, wildcards).values():
            loaded = set(json.loads((tree / f"{path}.json").read_text())["modules"])
            assert {"command", "provenance", "artifacts", "errors"} <= loaded
            assert loaded <= watched, f"{stage} {wildcards} loads what its digest does not hold"


def test_the_digest_of_code():
    assert code_digest(["methods.eps"]) != code_digest(["methods.cam"])
    assert code_digest(["methods.eps", "methods.cam"]) == code_digest(["methods.cam", "methods.eps", "methods.cam"])
    assert "methods.eps" not in closure(["stages.train_classifier", "methods.cam"])
    assert {"stages", "methods", "networks", "training.loop"} <= set(closure(["stages.train_classifier"]))


# Results without Snakemake's memory


def outputs(folder: Path, jobs: Iterable[str]) -> set[str]:
    """Artifacts of jobs of the demo."""
    plan = Plan(Config.load(*(folder / name for name in SMALL)))
    parts = ("seed", "saliency", "classifier", "cam", "mask", "segmenter", "prediction", "system")
    found = set()
    for stage, wildcards in plan.jobs("demo"):
        names = "/".join(wildcards[part] for part in parts if part in wildcards)
        if named([(stage, names)]) <= set(jobs):
            found |= set(plan.outputs(stage, wildcards).values())
    return found


def verify(folder: Path, *overlays: Path) -> tuple[int, dict[str, set[str]]]:
    """Exit status, and the paths that `verify` lists by state."""
    arguments = ["results/demo", "--configfile", *SMALL, *overlays]
    done = python(folder, "-m", "workflow_scripts.verify", *arguments)
    assert not done.stderr
    *lines, total = done.stdout.splitlines()
    found: dict[str, set[str]] = {}
    for line in lines:
        state, path = re.fullmatch(r"(\w+) +(\S+): .+", line).groups()
        assert path not in found.setdefault(state, set())
        found[state].add(path)
    assert total == f"results/demo: {f'{len(lines)} artifacts are not up to date' if lines else 'up to date'}"
    return done.returncode, found


@pytest.fixture
def bare(clone) -> Path:
    """A copy of the results without `.snakemake`."""
    shutil.rmtree(clone / ".snakemake")
    return clone


def test_untouched_results_are_up_to_date(bare):
    assert verify(bare) == (0, {})


def test_snakemake_itself_does_not_notice(bare, overlay):
    """The reason for `verify`: without its memory, Snakemake sees no changed number."""
    assert stale(bare, overlay(CHANGES["mask threshold"][0])) == set()


@pytest.mark.parametrize(
    "name",
    [
        "saliency",
        "classifier eps",
        "cam eps",
        "mask threshold",
        "mask crf",
        "prediction",
        "split",
    ],
)
def test_verify_lists_what_a_changed_setting_makes_stale(bare, overlay, name):
    change, jobs = CHANGES[name]
    assert verify(bare, overlay(change)) == (1, {"stale": outputs(bare, jobs)})


def test_verify_names_the_setting(bare, overlay):
    arguments = ["results/demo", "--configfile", *SMALL, overlay(CHANGES["mask crf"][0])]
    done = python(bare, "-m", "workflow_scripts.verify", *arguments)
    assert "results/demo/seed-0/masks/eps_crf.h5: settings changed: block.crf.iterations\n" in done.stdout


def test_verify_lists_what_edited_code_makes_stale(bare):
    edit(bare, "refine/dense_crf.py")
    assert verify(bare) == (1, {"stale": outputs(bare, EDITS["refine/dense_crf.py"])})


def test_verify_finds_a_changed_byte(bare):
    path = bare / "results" / "demo" / "seed-0" / "cams" / "eps.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    corrupt = {"results/demo/seed-0/cams/eps.h5"}
    assert verify(bare) == (1, {"corrupt": corrupt, "stale": outputs(bare, below("cams eps")) - corrupt})


def test_verify_finds_what_has_no_sidecar(bare):
    name = "results/demo/seed-0/masks/eps.h5"
    (bare / f"{name}.json").unlink()
    assert verify(bare) == (1, {"foreign": {name}, "stale": outputs(bare, below("masks eps")) - {name}})
    (bare / f"{name}.json").write_text("{")
    assert verify(bare)[1]["foreign"] == {name}


def test_verify_finds_what_is_missing_and_what_does_not_belong(bare):
    name, stranger = "results/demo/seed-0/masks/eps_crf.h5", "results/demo/seed-0/masks/mine.h5"
    (bare / name).rename(bare / stranger)
    found = {"missing": {name}, "foreign": {stranger}, "stale": outputs(bare, below("masks eps_crf")) - {name}}
    assert verify(bare) == (1, found)


def test_verify_finds_what_was_made_from_another_parent(bare):
    """An artifact and its sidecar, both sound, from elsewhere: what is below was made from the one before."""
    name = "results/demo/seed-0/cams/eps.h5"
    path, sidecar = bare / name, bare / f"{name}.json"
    path.write_bytes(path.read_bytes() + b"\0")
    record = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(record | {"sha256": file_sha256(path)}))
    assert verify(bare) == (1, {"stale": outputs(bare, below("cams eps")) - {name}})


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("results/demmo", "error: config: no data set 'demmo', did you mean 'demo'?"),
        ("elsewhere/demo", "error: elsewhere/demo: expected results/{dataset}, in the folder that snakemake ran in"),
    ],
)
def test_verify_of_no_results(tmp_path, folder, message):
    done = python(copy_sources(tmp_path), "-m", "workflow_scripts.verify", folder)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message + "\n")


# A user's own files, in the layout of PASCAL VOC

PHOTOGRAPHS = {
    "train_aug": ["a1", "a2", "a3", "a4"],
    "train": ["a1", "a2"],
    "val": ["b1", "b2"],
}
TARGETS = ("results/photographs/miou.csv", "results/photographs/pictures/done.txt")
CONFIGFILES = (*SMALL, "photographs.yaml")
ALL = {
    *(
        "index",
        "truth",
        "saliency supplied",
        "train_classifier eps",
        "classification eps",
        "cams eps",
        "thresholds eps",
    ),
    *("masks eps", "masks truth", "score_saliency supplied", "score_cams eps", "score_masks eps", "score_masks truth"),
    *("montage eps_masks", "montage truth_masks", "curves", "miou", "pictures"),
}


def draw_devkit(root: Path) -> None:
    """Six noisy pictures of one rectangle each, with boxes, masks and saliency maps."""
    rng = np.random.default_rng(0)
    for folder in ("JPEGImages", "Annotations", "SegmentationClassAug", "Saliency", "Lists"):
        (root / folder).mkdir(parents=True)
    for split, ids in PHOTOGRAPHS.items():
        (root / "Lists" / f"{split}.txt").write_text("".join(f"{identifier}\n" for identifier in ids))
    for number, identifier in enumerate(["a1", "a2", "a3", "a4", "b1", "b2"]):
        name, value = [("cat", 8), ("dog", 12)][number % 2]
        pixels = rng.integers(0, 100, (96, 128, 3), dtype=np.uint8)
        pixels[20:70, 30:90, number % 2] += 120
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{identifier}.jpg")
        inside = np.zeros((96, 128), np.uint8)
        inside[20:70, 30:90] = 1
        Image.fromarray(inside * value).save(root / "SegmentationClassAug" / f"{identifier}.png")
        Image.fromarray(inside * 200).save(root / "Saliency" / f"{identifier}.png")
        box = "<xmin>31</xmin><ymin>21</ymin><xmax>90</xmax><ymax>70</ymax>"
        (root / "Annotations" / f"{identifier}.xml").write_text(
            f"<annotation><object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>"
        )


@pytest.fixture(scope="module")
def finished_photographs(tmp_path_factory) -> Path:
    folder = copy_sources(tmp_path_factory.mktemp("photographs") / "tree")
    draw_devkit(folder / "data" / "devkit")
    overrides = merge(*(read_yaml(folder / name) for name in SMALL))["datasets"]["demo"]["overrides"]
    overrides = merge(overrides, {"saliency": {"rendered": None, "supplied": {"path": "data/devkit/Saliency"}}})
    overrides["classifiers"]["eps"]["saliency"] = "supplied"
    dataset = {
        "kind": "voc",
        "root": "data/devkit",
        "images": "JPEGImages",
        "annotations": "Annotations",
        "masks": "SegmentationClassAug",
        "classes": ["cat", "dog"],
        "splits": {name: {"ids": f"Lists/{name}.txt"} for name in PHOTOGRAPHS}
        | {"thresholds": {"of": "train_aug", "without": "train"}},
        "use": {"train": "train_aug", "masks": "train", "thresholds": "thresholds", "evaluation": ["val"]},
        "systems": ["eps_masks", "truth_masks"],
        "seeds": [0],
        "torch_threads": 1,
        "gpus": 0,
        "threshold": 0.2,
        "montage": 2,
        "overrides": overrides,
    }
    systems = {"eps_masks": {"mask": "eps"}, "truth_masks": {"mask": "truth"}}
    (folder / "photographs.yaml").write_text(yaml.safe_dump({"systems": systems, "datasets": {"photographs": dataset}}))
    done = run(folder, *TARGETS, configfiles=CONFIGFILES)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


@pytest.fixture
def photographs(finished_photographs, tmp_path) -> Path:
    return copy_tree(finished_photographs, tmp_path / "clone")


def stale_photographs(folder: Path) -> set[str]:
    return named(dry_run(folder, *TARGETS, configfiles=CONFIGFILES))


def redraw(path: Path) -> None:
    """Another picture of the same size, in the same format."""
    with Image.open(path) as image:
        pixels = np.asarray(image).copy()
    pixels[:8, :8] = pixels[30:38, 40:48]
    Image.fromarray(pixels).save(path)


def test_touched_and_equal_files_of_the_user(photographs):
    for path in (photographs / "data").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes())
    Image.new("RGB", (50, 40)).save(photographs / "data" / "devkit" / "JPEGImages" / "in_no_list.jpg")
    assert stale_photographs(photographs) == set()


@pytest.mark.parametrize("identifier", ["a4", "b2"])
def test_a_replaced_photograph(photographs, identifier):
    redraw(photographs / "data" / "devkit" / "JPEGImages" / f"{identifier}.jpg")
    assert stale_photographs(photographs) == ALL


def test_an_edited_annotation_and_an_edited_list(photographs):
    annotation = photographs / "data" / "devkit" / "Annotations" / "a1.xml"
    before = annotation.read_text()
    annotation.write_text(before.replace("<xmin>31</xmin>", "<xmin>32</xmin>"))
    assert stale_photographs(photographs) == ALL
    annotation.write_text(before)
    assert stale_photographs(photographs) == set()
    (photographs / "data" / "devkit" / "Lists" / "val.txt").write_text("b2\nb1\n")
    assert stale_photographs(photographs) == ALL


@pytest.mark.parametrize("identifier", ["a2", "a3", "b1"])
def test_a_corrected_truth_mask_retrains_nothing(photographs, identifier):
    redraw(photographs / "data" / "devkit" / "SegmentationClassAug" / f"{identifier}.png")
    assert stale_photographs(photographs) == {
        *("truth", "thresholds eps", "masks truth", "score_saliency supplied", "score_cams eps", "score_masks eps"),
        *("score_masks truth", "montage eps_masks", "montage truth_masks", "curves", "miou", "pictures"),
    }


def test_a_changed_saliency_map(photographs):
    redraw(photographs / "data" / "devkit" / "Saliency" / "a3.png")
    assert stale_photographs(photographs) == ALL - {
        *("index", "truth", "masks truth", "score_masks truth", "montage truth_masks")
    }


def test_verify_notices_a_replaced_photograph(photographs):
    shutil.rmtree(photographs / ".snakemake")
    arguments = ["-m", "workflow_scripts.verify", "results/photographs", "--configfile", *CONFIGFILES]
    assert python(photographs, *arguments).stdout == "results/photographs: up to date\n"
    redraw(photographs / "data" / "devkit" / "JPEGImages" / "a1.jpg")
    done = python(photographs, *arguments)
    assert done.returncode == 1
    assert "stale    results/photographs/index.h5: settings changed: sources\n" in done.stdout
