"""The whole DAG on the small demo: what the table says, that no truth leaks, that bytes do not depend on where it runs."""

import csv
import hashlib
import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import PARTS, SMALL, TARGETS, copy_tree, python, run

from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config

OBJECTS = "train boat bus bird cat dog".split()
COLUMNS = [
    *"system stage prediction split images seeds threshold threshold_from miou miou_std published source background".split(),
    *(f"iou.{name}" for name in OBJECTS),
]


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every artifact and table below `results`, without sidecars (which hold durations)."""
    paths = [path for path in (folder / "results").rglob("*") if path.is_file()]
    sidecars = {path for path in paths if path.suffix == ".json" and path.with_suffix("") in paths}
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted({*paths} - sidecars)
    }


@pytest.fixture(scope="module")
def plan(tree) -> Plan:
    return Plan(Config.load(*(tree / name for name in SMALL)))


@pytest.fixture(scope="module")
def table(tree) -> list[dict[str, str]]:
    with open(tree / "results/demo/miou.csv", newline="") as file:
        return list(csv.DictReader(file))


# --- the table --------------------------------------------------------------------------------------------------------


def test_columns_of_the_table(table):
    assert all(list(row) == COLUMNS for row in table)


def test_every_system_has_the_rows_of_its_stages(table):
    found: dict[str, list] = {}
    for row in table:
        found.setdefault(row["system"], []).append((row["stage"], row["prediction"], row["split"]))
    masks = [("cam", "", "train"), ("mask", "", "train")]
    single, multi = ("segmentation", "single", "val"), ("segmentation", "multi", "val")
    assert found == {
        "cam": masks,
        "cam_affinity": masks,
        "cam_irn": masks,
        "labels_saliency": masks,
        "eps": [*masks, single, multi, ("segmentation_crf", "multi_crf", "val")],
        "eps_chosen": masks,
        "eps_learnt": masks,
        "eps_crf": masks,
        "seenet": masks,
        "bana": [masks[1], single],
        "semantic_modulation": masks,
        "truth": [masks[1], single],
    }


def test_rows_say_how_many_images_and_seeds(table):
    for row in table:
        assert row["images"] == {"train": "18", "val": "6"}[row["split"]]  # 24 less the 6 that choose thresholds
        assert row["seeds"] == "1" and row["miou_std"] == ""
        assert row["published"] == row["source"] == ""  # no paper used the demo


def test_thresholds_say_where_they_come_from(table):
    where = {(row["system"], row["stage"]): (row["threshold"], row["threshold_from"]) for row in table}
    assert where["eps", "mask"] == where["eps_crf", "mask"] == ("0.2", "config")
    chosen = where["eps", "cam"]
    assert chosen[1] == "thresholds" and 0 <= float(chosen[0]) < 0.6
    assert where["eps_chosen", "mask"] == where["eps_chosen", "cam"] == chosen
    assert where["eps_learnt", "mask"] == where["truth", "mask"] == where["eps", "segmentation"] == ("", "")


def test_a_chosen_threshold_scores_the_masks_as_the_maps(table):
    """Both are the same maps at the same threshold, once cut by the score and once by the mask."""
    rows = {row["stage"]: row for row in table if row["system"] == "eps_chosen"}
    assert [rows["cam"][name] for name in COLUMNS[12:]] == [rows["mask"][name] for name in COLUMNS[12:]]


def test_a_class_absent_from_the_truth_is_an_empty_cell(tree, table):
    present: dict[str, set] = {}
    for row in table:
        if row["split"] not in present:
            with h5py.File(tree / "results/demo/index.h5") as index:
                ids = index["ids"].asstr()[:][index[f"splits/{row['split']}"][()]]
            with h5py.File(tree / "results/demo/truth.h5") as truth:
                labels = set().union(*(np.unique(truth[name]["label"]).tolist() for name in ids))
            present[row["split"]] = {OBJECTS[label - 1] for label in labels - {0, 255}}
        assert {name for name in OBJECTS if row[f"iou.{name}"]} == present[row["split"]]
    assert present["train"] == set(OBJECTS) and present["val"] < set(OBJECTS)


def test_miou_is_the_mean_of_the_cells(table):
    for row in table:
        values = [float(row[name]) for name in COLUMNS[12:] if row[name]]
        assert float(row["miou"]) == pytest.approx(np.mean(values), abs=0.011)
        assert all(0 <= value <= 100 for value in values)


def test_masks_made_from_the_truth_are_perfect(table):
    row = next(row for row in table if (row["system"], row["stage"]) == ("truth", "mask"))
    assert row["miou"] == "100.00" and {row[name] for name in COLUMNS[12:]} == {"100.00"}


# --- what a run leaves ------------------------------------------------------------------------------------------------


def test_nothing_temporary_is_left(tree):
    expected = {part.partition("/")[0] for part in PARTS}
    assert {path.name for path in tree.iterdir()} == {*expected, "results", "logs", ".snakemake"}
    left = [path.name for folder in ("results", "logs") for path in (tree / folder).rglob("*") if path.is_file()]
    assert not [name for name in left if name.startswith(".") or name.endswith((".tmp", ".state"))]
    assert not list((tree / ".snakemake").glob("locks/*"))


def test_every_artifact_of_the_plan_is_there_with_its_sidecar_and_no_other(tree, plan):
    planned = [path for job in plan.jobs("demo") for path in plan.outputs(*job).values()]
    found = {str(path.relative_to(tree)) for path in (tree / "results").rglob("*") if path.is_file()}
    assert found == {*planned, *(f"{path}.json" for path in planned), "results/demo/pictures/done.txt"}


def test_one_log_for_every_job_and_a_benchmark_for_those_that_no_cache_keeps(tree, plan):
    logs = [path for path in (tree / "logs").rglob("*") if path.is_file()]
    assert {path.suffix for path in logs} == {".log", ".tsv"}
    jobs = [stage for stage, _ in plan.jobs("demo")]
    kept = [stage for stage in jobs if stage in {"weights", "train_saliency", "saliency"}]
    assert sum(path.suffix == ".log" for path in logs) == len(jobs)
    assert sum(path.suffix == ".tsv" for path in logs) == len(jobs) - len(kept)
    for log in logs:
        text = log.read_text()
        assert log.suffix == ".tsv" or (": done in " in text and "Warning" not in text), f"{log}: {text}"


def test_a_second_run_runs_no_job(clone):
    before = {path: path.stat().st_mtime_ns for path in (clone / "results").rglob("*") if path.is_file()}
    done = run(clone, *TARGETS)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in (clone / "results").rglob("*") if path.is_file()}


def test_another_folder_and_one_core_give_the_same_bytes(tree, tmp_path):
    folder = tmp_path / "another folder"
    shutil.copytree(tree, folder, ignore=lambda *_: {"results", "logs", ".snakemake"})
    done = run(folder, TARGETS[0], cores=1)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    beside = ("/pictures/", "/filling_rates.csv")  # what is made with the pictures
    expected = {path: value for path, value in digests(tree).items() if not any(part in path for part in beside)}
    assert digests(folder) == expected


def test_the_order_of_sets_changes_no_bytes(tree, tmp_path, plan, monkeypatch):
    """Python shuffles sets of text anew in every process; the index is what all else is made from."""
    names = {"dataset": "demo"}
    expected = (tree / "results/demo/index.h5").read_bytes()
    for seed in "1234":
        monkeypatch.setenv("PYTHONHASHSEED", seed)
        arguments = ["--settings", plan.settings("index", names), "--code", "0", "--index-to", tmp_path / "index.h5"]
        arguments += ["--findings-to", tmp_path / "index.csv"]
        arguments += ["--images", plan.job("index", names).inputs["images"]]
        done = python(tree, "-B", "-m", "workflow_scripts.stages.index", *arguments)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "index.h5").read_bytes() == expected


# --- no truth leaks ---------------------------------------------------------------------------------------------------

# Jobs in the order of the DAG, in one process (which spares starting it fifty times).
ALL_JOBS = """
import hashlib, json, sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from workflow_scripts.run.command import Job
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config

only = json.loads(sys.argv[1])
plan = Plan(Config.load("tests/small.yaml"))
for stage, wildcards in plan.jobs("demo"):
    if [stage, wildcards] in only:
        settings = json.loads(plan.settings(stage, wildcards), object_hook=lambda item: SimpleNamespace(**item))
        inputs = {name: value or None for name, value in plan.job(stage, wildcards).inputs.items()}
        outputs = plan.outputs(stage, wildcards)
        job = Job(settings, SimpleNamespace(**inputs), SimpleNamespace(**outputs), 1, "0")
        import_module(f"workflow_scripts.{plan.modules(stage, wildcards)[0]}").main(job)
"""


def made_from_truth(plan: Plan) -> dict[str, tuple]:
    """Artifacts below the truth, and the jobs that make them."""
    below: dict[str, tuple] = {}
    for stage, wildcards in plan.jobs("demo"):
        inputs = [
            path
            for value in plan.job(stage, wildcards).inputs.values()
            for path in ([value] if isinstance(value, str) else value)
        ]
        if stage == "truth" or any(path in below for path in inputs):
            below |= dict.fromkeys(plan.outputs(stage, wildcards).values(), (stage, wildcards))
    return below


def test_only_truth_scores_tables_and_what_asks_for_truth_is_made_from_it(plan):
    below = made_from_truth(plan)
    named = {
        path: job for path, job in below.items() if not job[0].startswith("score_") and job[0] not in {"miou", "curves"}
    }
    assert {
        (stage, *sorted(v for k, v in wildcards.items() if k not in {"dataset", "seed"}))
        for stage, wildcards in named.values()
    } == {
        ("truth",),
        ("thresholds", "cam"),
        ("thresholds", "eps"),
        ("thresholds", "seenet"),
        ("thresholds", "semantic_modulation"),
        ("filling_rates",),
        ("charts",),
        ("masks", "eps_chosen"),
        ("masks", "truth"),
        ("train_segmenter", "large_fov", "truth"),
        ("predictions", "large_fov", "single", "truth"),
        *(("montage", system) for system in plan.config.dataset("demo").systems),
    }


def turn(path: Path) -> None:
    """Turn the truth of every image by half a circle: its classes are still those of the labels."""
    with h5py.File(path, "r+") as file:
        for arrays in file.values():
            for array in arrays.values():
                array[...] = array[()][::-1, ::-1]


@pytest.mark.parametrize("truth", ["removed", "turned"])
def test_no_truth_leaks(tree, tmp_path, plan, truth):
    """Everything that is not made from the truth is made again without it, and with another truth."""
    clone = copy_tree(tree, tmp_path / "clone")
    rendered, below = clone / "results/demo/rendered", made_from_truth(plan)
    images, masks = (rendered / "images.h5").read_bytes(), (rendered / "truth.h5").read_bytes()
    for path in (clone / "results").rglob("*"):
        if path.is_file():
            path.unlink()
    (rendered / "images.h5").write_bytes(images)
    jobs = [list(job) for job in plan.jobs("demo") if job[0] != "render"]
    again = [job for job in jobs if not set(plan.outputs(*job).values()) & set(below)]
    if truth == "turned":
        (rendered / "truth.h5").write_bytes(masks)
        turn(rendered / "truth.h5")
        again.append(next(job for job in jobs if job[0] == "truth"))
    done = python(clone, "-c", ALL_JOBS, json.dumps(again))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    before, after = digests(tree), digests(clone)
    changed = {path for path in after if after[path] != before[path]}
    assert changed == ({"results/demo/rendered/truth.h5", "results/demo/truth.h5"} if truth == "turned" else set())
    compared = {stage for stage, _ in again}
    assert compared >= {"saliency", "train_classifier", "cams", "masks", "train_segmenter", "predictions"}
    assert set(after) - changed - {"results/demo/checks/truth.csv"} == {
        path for path in before if path not in below and "done.txt" not in path and "rendered/truth" not in path
    }
