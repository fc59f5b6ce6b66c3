"""Tables in one settings file: images to predict only, two data sets beside each other, and weights of one that predict the other."""

import json
from pathlib import Path

import numpy as np
import pytest
import stage_runs
import yaml
from conftest import DRY_RUN, copy_sources, python, refused
from PIL import Image

from workflow_scripts.commands import export
from workflow_scripts.config.layers import read_settings
from workflow_scripts.config.planning.outputs import maker, output_path
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config, merge
from workflow_scripts.data.index import read_index
from workflow_scripts.store.artifacts import Reader

NAMES = {"seed": "0", "mask": "truth", "segmenter": "large_fov"}
SPLITS = {"train": ["p0", "p1", "p2", "p3"], "val": ["p4"], "new": ["p5", "p6"]}
TRAINED = "results/mine/seed-0/segmenters/truth/large_fov.safetensors"
SETTINGS = {
    "segmenters": {  # what both share
        "large_fov": {
            "initial": "random",
            "hidden": 4,
            "backbone": {"name": "tiny", "stride": 8, "frozen_stages": 0, "batch_norm": "trained"},
            "recipe": {"iterations": 2, "batch": 2, "crop": 33, "save_every": 2},
        }
    },
    "systems": {"truth": {"predictions": ["single"]}},
    "datasets": {
        "mine": {
            "kind": "csv",
            "table": "mine.csv",
            "classes": ["cat", "dog"],
            "splits": {"train": {"ids": "train"}, "val": {"ids": "val"}, "new": {"ids": "new", "labelled": False}},
            "use": {"train": "train", "masks": "train", "evaluation": ["val"], "predict": ["new"]},
            "systems": ["truth"],
            "seeds": [0],
            "threshold": 0.2,
            "montage": 2,
            "gallery": {"side": 40},
        },
        "yours": {"base": "mine", "table": "yours.csv"},
    },
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("mine", 0)
    write("yours", 7)


def write(name, seed):
    """Seven pictures with polygons as truth; two have neither labels nor truth."""
    rows, generator = ["id,image,labels,polygons,split"], np.random.default_rng(seed)
    for split, ids in SPLITS.items():
        for number, identifier in enumerate(ids):
            Image.fromarray(generator.integers(0, 256, (40, 48, 3), np.uint8)).save(f"{name}_{identifier}.png")
            label = ("cat", "dog")[number % 2]
            told = f"{label},{label}: 4 4 30 4 30 30" if split != "new" else ","
            rows.append(f"{identifier},{name}_{identifier}.png,{told},{split}")
    Path(f"{name}.csv").write_text("\n".join(rows))


def plan_of(**changes):
    return Plan(Config(merge(read_settings(), merge(SETTINGS, {"datasets": changes}))))


def make(plan, path):
    """Run the stages that a file needs, in this process."""
    if Path(path).exists() or maker(path) is None:
        return
    stage, wildcards = maker(path)
    for value in plan.job(stage, wildcards).inputs.values():
        for name in [value] if isinstance(value, str) else value or []:
            make(plan, name)
    assert stage_runs.run(plan, stage, **wildcards) is None, path


def predictions(dataset):
    return output_path("predictions", dataset=dataset, prediction="single", **NAMES)


def test_images_to_predict_only():
    """They are predicted and shown; nothing is made, learnt or scored of them before."""
    plan = plan_of()
    names = {"dataset": "mine"}
    for target in ("miou.csv", "pictures/truth.png", "gallery/index.html"):
        make(plan, f"results/mine/{target}")
    assert Reader(predictions("mine"), "prediction", "mine").ids == ["p4", "p5", "p6"]
    assert sorted(Reader("results/mine/truth.h5", "truth", "mine").ids) == ["p0", "p1", "p2", "p3", "p4"]
    assert Reader("results/mine/seed-0/masks/truth.h5", "mask", "mine").ids == SPLITS["train"]
    assert read_index("results/mine/index.h5").split("train") == SPLITS["train"]
    scores = output_path("score_predictions", prediction="single", **NAMES, **names)
    assert json.loads(Path(scores).read_text())["splits"].keys() == {"val"}
    table = Path("results/mine/miou.csv").read_text()
    assert ",val," in table and ",new," not in table
    assert not any("submission" in path for path in plan.targets("mine"))  # nothing is scored elsewhere
    text = Path("results/mine/gallery/files/data.js").read_text()
    data = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert data["splits"] == ["train", "val", "new"]
    assert {row["id"]: (row["labels"], row["has"]) for row in data["rows"] if row["id"] in SPLITS["new"]} == {
        "p5": ([], "010"), "p6": ([], "010")
    }  # fmt: skip
    assert plan.job("montage", names | {"system": "truth"}).settings["splits"] == ["train", "val", "new"]
    export.main([predictions("mine"), "--format", "voc", "--out", "out", "--images"])
    assert Path("out/ImageSets/Segmentation/new.txt").read_text().split() == SPLITS["new"]
    assert {path.stem for path in Path("out/SegmentationClass").iterdir()} == {"p4", "p5", "p6"}


def test_weights_of_one_predict_the_other():
    """What its settings name is not trained; two data sets with one id each have their own image of it."""
    trained = {"segmenters": {"large_fov": {"trained": TRAINED}}}
    make(plan_of(), predictions("mine"))
    plan = plan_of(yours={"overrides": trained})
    make(plan, predictions("yours"))
    ours, theirs = (Reader(predictions(name), "prediction", name) for name in ("mine", "yours"))
    assert ours.ids == theirs.ids
    assert not np.array_equal(ours.read("p5")["scores"], theirs.read("p5")["scores"])
    assert not Path("results/yours/truth.h5").exists()


@pytest.mark.parametrize("use", ["train", "masks", "thresholds", "affinity"])
def test_splits_without_labels_are_not_learnt_from(use):
    refused(lambda: plan_of(mine={"use": {use: "new"}}), f"mine.use.{use}", "'new' has no labels", "predict")


def test_splits_to_predict_are_checked():
    refused(lambda: plan_of(mine={"use": {"evaluation": ["val", "new"]}}), "'new'", "labelled: false", "use.predict")
    refused(lambda: plan_of(mine={"use": {"predict": ["nwe"]}}), "mine.use.predict", "'nwe'", "'new'")
    refused(lambda: plan_of(mine={"use": {"evaluation": ["vall"]}}), "mine.use.evaluation", "'vall'", "'val'")


def test_splits_with_labels_may_be_predicted_only():
    """The training images' predictions, say; what is scored stays the same."""
    plan = plan_of(mine={"use": {"predict": ["train", "val"]}})
    names = NAMES | {"dataset": "mine", "prediction": "single"}
    assert plan.job("predictions", names).settings["splits"] == ["val", "train"]
    assert plan.job("score_predictions", names).settings["splits"] == ["val"]


def test_both_are_run_side_by_side(tmp_path):
    """One settings file, one command, a job of each stage for each data set."""
    copy_sources(tmp_path)
    Path("both.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(SETTINGS))))
    targets = [f"results/{name}/{path}" for name in ("mine", "yours") for path in ("miou.csv", "gallery/index.html")]
    done = python(tmp_path, "-c", DRY_RUN, "--dry-run", "--cores", "1", "--configfile", "both.yaml", "--", *targets)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    jobs = [json.loads(line[4:]) for line in done.stdout.splitlines() if line.startswith("JOB ")]
    stages = [
        "gallery",
        "index",
        "masks",
        "miou",
        "predictions",
        "score_masks",
        "score_predictions",
        "train_segmenter",
        "truth",
    ]
    assert sorted((rule, wildcards["dataset"]) for rule, wildcards in jobs) == [
        (stage, name) for stage in stages for name in ("mine", "yours")
    ]
