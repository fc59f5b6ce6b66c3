"""Images that show none of the classes: every method learns from them, and their masks are background."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import stage_runs
from conftest import SOURCES
from PIL import Image

from workflow_scripts.commands import contents
from workflow_scripts.config.layers import read_settings
from workflow_scripts.config.planning.outputs import maker
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config, merge
from workflow_scripts.data.index import read_index

NEGATIVES = {"p0", "p3", "p6", "p9"}  # of training, thresholds, affinities and evaluation
MASKS = ["cam_crf", "cam_affinity", "cam_irn", "eps", "eps_learnt", "seenet", "bana", "grabcut", "semantic_modulation"]
IGNORING = {"seenet"}  # which leaves pixels out where nothing is salient
TARGETS = [
    *(f"seed-0/masks/{name}.h5" for name in MASKS),
    *(f"seed-0/scores/masks/{name}.json" for name in ("cam_crf", "bana")),
    *(f"seed-0/scores/classifiers/{name}.json" for name in ("cam", "bana")),
    *("seed-0/scores/cams/eps.json", "seed-0/predictions/bana/bana/single.h5", "scores/saliency/rendered.json"),
    *("seed-0/detections/bana_agreement/mask_rcnn.h5", "seed-0/coco/bana_agreement.json"),
    *("gallery/index.html", "pictures/cam.png", "pictures/saliency/eps.png", "pictures/erasing/seenet.png"),
]


def write_images(classes):
    rows = ["id,image,labels,boxes,mask,split"]
    for number in range(12):
        name = f"p{number}"
        label = number % len(classes)
        pixels, mask = (
            np.random.default_rng(number).integers(0, 90, (48, 64, 3), np.uint8),
            np.zeros((48, 64), np.uint8),
        )
        shown = name not in NEGATIVES
        if shown:
            pixels[10:34, 14:44, label] += 120
            mask[10:34, 14:44] = label + 1
        Image.fromarray(pixels).save(f"{name}.png")
        Image.fromarray(mask).save(f"{name}_mask.png")
        about = f"{classes[label]},14 10 44 34 {classes[label]}" if shown else "-,"
        rows.append(f"{name},{name}.png,{about},{name}_mask.png,{'val' if number > 8 else 'train'}")
    Path("table.csv").write_text("\n".join(rows))


def plan_of(classes):
    """The demo's recipes, of two steps each."""
    shipped = read_settings([SOURCES / "tests/small.yaml"])
    demo = shipped["datasets"]["demo"]
    overrides = demo["overrides"]
    for blocks in overrides.values():
        for block in blocks.values():
            if block and "recipe" in block:
                block["recipe"] |= {"iterations": 2, "save_every": 2}
    data = {key: demo[key] for key in ("seeds", "torch_threads", "workers", "gpus", "threshold")} | {
        "kind": "csv",
        "table": "table.csv",
        "classes": classes,
        "splits": {
            "all": {"ids": "train"},
            "thresholds": {"of": "all", "first": 4},
            "train": {"of": "all", "without": "thresholds"},
            "val": {"ids": "val"},
        },
        "use": {"train": "all", "masks": "all", "thresholds": "thresholds", "evaluation": ["val"]},
        "systems": [
            "cam",
            "cam_crf",
            "cam_affinity",
            "cam_irn",
            "eps",
            "eps_learnt",
            "seenet",
            "bana",
            "grabcut",
            "semantic_modulation",
        ],
        "instance_systems": ["bana_agreement"],
        "montage": 4,
        "gallery": {"systems": ["cam"], "side": 60},
        "overrides": overrides,
    }
    return Plan(Config(merge(shipped, {"datasets": {"mine": data}})))


def make(plan, path):
    """Run the stages that a file needs, in this process."""
    if Path(path).exists() or maker(path) is None:
        return
    stage, wildcards = maker(path)
    for value in plan.job(stage, wildcards).inputs.values():
        for name in [value] if isinstance(value, str) else value or []:
            make(plan, name)
    assert stage_runs.run(plan, stage, **wildcards) is None, path
    if stage not in ("gallery", "score_saliency"):
        output = next(name for name, file in plan.outputs(stage, wildcards).items() if file == path)
        index = read_index("results/mine/index.h5") if stage != "train_saliency" else None
        settings = vars(plan.job(stage, wildcards))["settings"]
        assert list(contents.faults(path, stage, output, settings, index)) == []


@pytest.mark.parametrize(
    ("classes", "targets"),
    [
        (["cat", "dog"], TARGETS),
        (["weed"], [TARGETS[MASKS.index(name)] for name in ("cam_affinity", "eps", "bana", "semantic_modulation")]),
    ],
    ids=["two classes", "one class"],
)
def test_images_without_an_object_go_through_every_stage(tmp_path, monkeypatch, classes, targets):
    monkeypatch.chdir(tmp_path)
    write_images(classes)
    plan = plan_of(classes)
    for target in targets:
        make(plan, f"results/mine/{target}")
    for path in Path("results/mine/seed-0/masks").glob("*.h5"):
        with h5py.File(path) as file:
            assert NEGATIVES & set(file) >= {"p0", "p3", "p6"}
            for identifier in NEGATIVES & set(file):
                for name in file[identifier]:
                    found = set(np.unique(file[identifier][name]).tolist())
                    assert found <= ({0, 255} if path.stem in IGNORING else {0}), path
