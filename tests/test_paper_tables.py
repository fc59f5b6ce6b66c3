"""The papers' tables: what each asks for, what is missing by name, and what stands in the table."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import dry_run, put, refused

from workflow_scripts.config.planning.jobs import paper_tables
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.run.command import Job
from workflow_scripts.stages import all_paper_tables, paper_table

COUNTS = {"eps": 9, "eps_affinity": 2, "seenet": 2, "bana": 7, "semantic_modulation": 8}


@pytest.fixture(scope="module")
def plan(shipped) -> Plan:
    return Plan(Config(shipped))


def paper(name: str) -> str:
    return name.partition("_table_")[0].removesuffix("_saliency")


def test_every_table_of_the_five_papers(shipped):
    names = list(shipped["tables"])
    assert {key: sum(paper(name) == key for name in names) for key in COUNTS} == COUNTS
    for key, last in {"eps": 7, "eps_affinity": 2, "seenet": 2, "bana": 6, "semantic_modulation": 8}.items():
        assert {f"{key}_table_{number}" for number in range(1, last + 1)} <= set(names)


def test_quoted_figures_are_those_beside_the_systems(plan):
    """A system's published figure stands in its row of the table that it is quoted from."""
    config, compared = plan.config, 0
    for name in config.names("voc", "tables"):
        block = config.block("voc", "tables", name)
        for method, *cells in block.rows:
            for item in block.systems.get(block.dataset, {}).get(method, ()):
                for (key, column), printed in zip(block.named_columns().items(), cells, strict=True):
                    system = item.get(key) if isinstance(item, dict) else item
                    if system is None or printed is None or getattr(column, "measure", "") != "miou" or column.of:
                        continue
                    split = column.split or "train"
                    figures = {
                        (figure.miou, figure.source.partition(" (")[0])
                        for figure in config.block("voc", "systems", system).published
                        if (figure.dataset, figure.split, figure.stage) == (block.dataset, split, column.stage)
                    }
                    for figure, source in figures:
                        if source.partition(":")[0] == block.source.partition(" (")[0]:
                            assert figure == printed, f"{name}, {method}, {system}"
                            compared += 1
    assert compared > 30


@pytest.mark.parametrize("dataset", ["demo", "voc", "coco", "coco2017", "demo_boxes"])
def test_tables_of_a_data_set_can_be_planned(plan, raw, tmp_path, monkeypatch, dataset):
    monkeypatch.chdir(tmp_path)
    if dataset == "demo_boxes":
        plan = Plan(Config(put(raw, "datasets.demo_boxes", {"base": "demo", "systems": ["bana"]})))
    target = output_path("all_paper_tables", dataset=dataset)
    stages = [stage for stage, _ in plan.jobs(dataset, target)]
    number = {"demo": 27, "demo_boxes": 27, "voc": 24, "coco": 3, "coco2017": 4}[dataset]
    assert stages.count("paper_table") == number and stages[-1] == "all_paper_tables"


def test_the_demo_needs_nothing_that_is_not_there(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    missing = set()
    for name in paper_tables._named(plan, "demo"):
        rows = plan.job("paper_table", {"dataset": "demo", "table": name}).settings["rows"]
        missing |= {what for row in rows for what in row["missing"]}
    assert missing == {"split test", "background platform"}


def row_of(plan: Plan, dataset: str, name: str, method: str, place: int = 0) -> dict:
    rows = plan.job("paper_table", {"dataset": dataset, "table": name}).settings["rows"]
    return next(row for row in rows if (row["method"], row["place"]) == (method, place))


def test_missing_files_are_named_and_other_rows_are_made(plan, raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = "data/weights/ilsvrc-cls_rna-a1_cls1000_ep-0001.params"
    published = row_of(plan, "voc", "eps_table_4", "EPS", 1)
    assert (published["missing"], published["cells"]) == ([weights], [None, None, None])
    small = row_of(plan, "voc", "eps_table_4", "EPS")
    scores = [cell["scores"] for cell in small["cells"]]
    names = ("eps", "eps_crf", "eps_affinity")
    assert scores == [[f"results/voc/seed-0/scores/masks/{name}.json"] for name in names]
    detectors = row_of(plan, "voc", "eps_saliency", "DSS")
    assert detectors["missing"] == [f"{weights}; data/saliency/dss"]
    ratios = row_of(plan, "voc", "eps_table_2", "EPS")
    assert ratios["missing"] == ["data/pascal_context"] and ratios["cells"][1]["of"] == 4  # boat
    # Weights that come to lie there, and a folder of labels
    for path in (weights, "data/pascal_context/labels.txt"):
        Path(path).parent.mkdir(parents=True)
        Path(path).write_bytes(b"weights")
    fresh = Plan(Config(raw))
    assert row_of(fresh, "voc", "eps_table_4", "EPS", 1)["missing"] == []
    assert row_of(fresh, "voc", "eps_table_2", "EPS")["missing"] == []


def test_masks_of_another_split_are_a_variant(plan):
    """BANA's labels of val: the CRF and the two label maps again, for these images alone."""
    row = row_of(plan, "demo", "bana_table_1", "BAP, Y_ret")
    assert [cell and cell["scores"][0] for cell in row["cells"]] == [
        None,
        "results/demo/seed-0/scores/masks/bana_retrieved.json",
        "results/demo/seed-0/scores/masks/bana_retrieved@val.json",
    ]
    names = {"dataset": "demo", "seed": "0", "mask": "bana_retrieved@val"}
    assert plan.job("masks", names).inputs["masks"] == "results/demo/seed-0/masks/bana@val.h5"
    assert plan.job("masks", names | {"mask": "bana@val"}).settings["splits"] == ["val"]
    assert plan.job("score_masks", names).settings["splits"] == ["val"]
    cams = plan.job("masks", names | {"mask": "eps@val"}).inputs["cams"]
    assert cams == "results/demo/seed-0/cams/eps@val.h5"
    refused(lambda: plan.job("masks", names | {"mask": "bana@nosplit"}), "masks has no block 'bana@nosplit'")


def test_a_segmenter_whose_masks_are_not_made_for_training_gets_such(plan):
    """Nothing that `make demo` leaves becomes stale by a table that is asked for."""
    row = row_of(plan, "demo", "eps_table_5", "AffinityNet")
    path = "results/demo/seed-0/scores/predictions/cam_affinity@all_train/large_fov/multi_crf.json"
    assert row["cells"][2]["scores"] == [path] and row["missing"] == ["split test"]
    names = {"dataset": "demo", "seed": "0", "mask": "cam_affinity@all_train", "segmenter": "large_fov"}
    assert plan.job("train_segmenter", names).inputs["masks"].endswith("masks/cam_affinity@all_train.h5")
    assert plan.job("masks", {**names, "mask": "cam_affinity"}).settings["splits"] == ["train"]


def test_tolerances_and_pairs_come_from_the_tables(plan, raw):
    names = {"dataset": "demo", "seed": "0", "mask": "eps"}
    assert plan.job("boundaries", names).settings["tolerances"] == [0.0075, 0.02]
    pairs = [{"of": "boat", "context": "water"}, {"of": "train", "context": "rails"}]
    assert plan.job("confusion_ratios", names).settings["pairs"] == pairs
    variant = plan.job("boundaries", {"dataset": "voc", "seed": "0", "mask": "eps@voc_and_sbd"})
    assert variant.settings["split"] == "voc_and_sbd" and variant.inputs["truth"] == []
    refused(lambda: plan.job("confusion_ratios", names | {"dataset": "coco"}), "coco")
    del raw["tables"]
    refused(lambda: Plan(Config(raw)).job("all_paper_tables", {"dataset": "demo"}), "none names systems", "'demo'")


FAULTS = {
    "rows": ([["CAM", 1.0]], "'CAM' has 1 cells, expected as they are, CRF, AffinityNet"),
    "rows.": ([["CAM", "x", None, None]], "as they are is 'x', expected a number"),
    "rows..": ([["CAM", 1, 2, 3], ["CAM", 1, 2, 3]], "a method is listed twice"),
    "systems.voc.SEEM": (["eps"], "no row 'SEEM', did you mean 'SEAM'?"),
    "systems.voc.EPS": ([{"as they were": "eps"}], "no column 'as they were', did you mean 'as they are'?"),
    "systems.demo.EPS": (["epps"], "no system 'epps', did you mean 'eps'"),
    "systems.vok": ({}, "no data set 'vok', did you mean 'voc'?"),
    "columns.": ([{"source": "text"}], "source is a column that every table has"),
    "columns": ([{"CRF": {"measure": "size"}}], "columns"),
}


@pytest.mark.parametrize(("key", "fault"), FAULTS.items(), ids=FAULTS)
def test_faults_of_a_table(raw, key, fault):
    value, message = fault
    put(raw, f"tables.eps_table_4.{key.rstrip('.')}", value)
    refused(lambda: Config(raw), "tables.eps_table_4", message)


# The stage


def confusion(share: float) -> list[list[int]]:
    """Two classes; the object's IoU is `share`, in percent a whole number, the background's 1 less nothing."""
    hit = round(100 * share)
    return [[1000, 0, 0], [0, hit, 100 - hit]]


def written(path: Path, value) -> str:
    path.write_text(json.dumps(value))
    return str(path)


def settings(tmp_path: Path, shares: dict[str, list[float]], of: str = "mine") -> dict:
    """A table of one measured column, with the IoU of the object for each seed."""
    rows = []
    for method, (printed, *values) in shares.items():
        paths = [
            written(tmp_path / f"{method}{seed}.json", {"splits": {"train": {"confusion": confusion(value)}}})
            for seed, value in enumerate(values)
        ]
        cell = {"scores": paths, "split": "train", "labelled": False, "of": 1} if paths else None
        missing = [] if paths else ["data/weights/x.params"]
        rows.append({"method": method, "place": 0, "printed": ["V1", printed], "cells": [None, cell]})
        rows[-1] |= {"missing": missing, "systems": [method.lower()]}
    about = {"dataset": "mine", "table": "t", "title": "Masks", "source": "Paper, Table 4", "of": of}
    return about | {"columns": [["network", "text"], ["mIoU", "miou"]], "rows": rows}


def made(tmp_path: Path, values: dict) -> tuple[list[dict], str]:
    outputs = SimpleNamespace(table=str(tmp_path / "t.csv"), text=str(tmp_path / "t.md"))
    space = json.loads(json.dumps(values), object_hook=lambda item: SimpleNamespace(**item))
    paper_table.main(Job(space, SimpleNamespace(scores=[], tables=[]), outputs, 1, "0"))
    with open(outputs.table, newline="") as file:
        return list(csv.DictReader(file)), Path(outputs.text).read_text()


def test_measured_beside_printed_with_the_difference(tmp_path):
    rows, text = made(tmp_path, settings(tmp_path, {"CAM": [48.0, 0.5, 0.52], "SEAM": [55.4], "EPS": [69.4, 0.6]}))
    assert list(rows[0]) == [
        *("method", "system", "network", "mIoU", "mIoU std", "mIoU published", "mIoU difference"),
        *("seeds", "source", "missing"),
    ]
    assert [rows[0][key] for key in list(rows[0])[3:8]] == ["51.00", "1.41", "48.0", "3.00", "2"]
    assert [rows[1][key] for key in list(rows[1])[3:]] == [
        "",
        "",
        "55.4",
        "",
        "",
        "Paper, Table 4",
        "data/weights/x.params",
    ]
    assert (rows[2]["mIoU"], rows[2]["mIoU difference"], rows[2]["seeds"]) == ("60.00", "-9.40", "1")
    assert "| CAM | cam | V1 | 51.00 ± 1.41 | 48.0 | 3.00 |" in text
    assert "mIoU: the published order holds in 1 of 1 pairs." in text and "Missing: data/weights/x.params." in text


def test_figures_of_other_images_have_no_difference_and_their_order_is_told(tmp_path):
    shares = {"CAM": [48.0, 0.5], "SEAM": [55.4, 0.4], "EPS": [69.4, 0.6]}
    rows, text = made(tmp_path, settings(tmp_path, shares, of="voc"))
    assert all(row["mIoU difference"] == "" for row in rows) and "difference" not in text
    assert "on voc. Measured: mine." in text
    assert "mIoU: the published order holds in 2 of 3 pairs, not for CAM below SEAM." in text


def test_measures_of_other_kinds(tmp_path):
    counts = {"matched_predicted": 30, "predicted": 40, "matched_true": 20, "true": 80}
    pairs = [{"of": "boat", "context": "water", "images": 3, "mistaken": 5, "found": 20}]
    classes = {"boat": {"ap": 0.5, "ap50": 0.6}, "bus": {"ap": 0.25, "ap50": None}, "bird": {"ap": 0.0, "ap50": 0.2}}
    cost = tmp_path / "cost.csv"
    cost.write_text("system,network,macs_g,memory_mib,gpu_memory_mib\ncam,classifier,4.7,900,\ncam,all jobs,,,\n")
    values = {
        "boundary": {"scores": [written(tmp_path / "b.json", {"tolerances": {"0.02": counts}})], "tolerance": "0.02"},
        "confusion_ratio": {
            "scores": [written(tmp_path / "c.json", {"pairs": pairs})],
            "of": "boat",
            "context": "water",
        },
        "cost": {"file": str(cost)},
        "mask_ap": {
            "scores": [written(tmp_path / "a.json", {"splits": {"val": {"classes": classes}}})],
            "split": "val",
        },
    }

    def value(measure: str, **more) -> float:
        return float(np.mean(paper_table._values(measure, SimpleNamespace(**values[measure], **more))))

    assert value("boundary", value="precision") == 75 and value("boundary", value="recall") == 25
    assert value("boundary", value="f1") == 37.5 and value("confusion_ratio") == 0.25
    assert value("cost", value="macs_g") == 4.7 and value("cost", value="memory_mib") == 900
    assert value("mask_ap", value="ap") == 25 and value("mask_ap", value="ap50") == pytest.approx(40)


def test_all_tables_on_one_page(tmp_path):
    for name in ("eps_table_1", "eps_table_2"):
        (tmp_path / f"{name}.md").write_text(f"### {name} says\n")
    paths = [str(tmp_path / f"eps_table_{number}.md") for number in (2, 1)]
    out = tmp_path / "all.md"
    all_paper_tables.main(Job(SimpleNamespace(), SimpleNamespace(tables=paths), SimpleNamespace(text=str(out)), 1, "0"))
    assert out.read_text().index("eps_table_2 says") < out.read_text().index("eps_table_1 says")


def test_what_a_table_adds_to_the_small_demo(tree):
    """Of a table all of whose systems are made: the table alone; nothing else becomes stale."""
    jobs = dry_run(tree, "results/demo/tables/eps_table_7.csv", "results/demo/miou.csv")
    assert jobs == [("paper_table", "eps_table_7")]
    jobs = dry_run(tree, "results/demo/tables/eps_table_2.md", "results/demo/boundaries.csv")
    masks = (
        "bana",
        "cam",
        "cam_affinity",
        "cam_irn",
        "eps",
        "eps_chosen",
        "eps_crf",
        "eps_learnt",
        "labels_saliency",
        "seenet",
        "semantic_modulation",
        "truth",
    )
    expected = {("boundaries", f"0/{mask}") for mask in masks} | {
        ("boundary_table", ""),
        ("paper_table", "eps_table_2"),
    }
    assert set(jobs) == expected | {("confusion_ratios", f"0/{mask}") for mask in ("cam", "eps", "eps_learnt")}
