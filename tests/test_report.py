"""Snakemake's report of the small demo: what is in it, with captions, categories and labels; and the charts of the table."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from conftest import SOURCES, TARGETS, run
from PIL import Image

from workflow_scripts.config.planning.stages import STAGES
from workflow_scripts.look.chart_plots import class_bars, stage_lines

SYSTEMS = ("cam", "eps", "bana", "truth")
PARTS = ("results", "categories", "rulegraph_spec", "runtimes_spec")  # of Snakemake's page


def flagged() -> dict[str, int]:
    """How often each caption is named by a stage."""
    names = [Path(about["caption"]).stem for stage in STAGES.values() for about in stage.report.values()]
    return {name: names.count(name) for name in names}


def part(page: str, name: str) -> dict:
    """The last value that the page's script gives a variable; the libraries in it come before."""
    start = f"var {name} = "
    return json.JSONDecoder().raw_decode(page, page.rindex(start) + len(start))[0]


def test_every_caption_is_there_and_named():
    files = {path.stem for path in (SOURCES / "report").glob("*.rst")}
    assert files == {*flagged(), "workflow"}
    assert 'report: "report/workflow.rst"' in (SOURCES / "Snakefile").read_text()


@pytest.fixture(scope="module")
def report(tree, tmp_path_factory) -> dict[str, dict]:
    """What the report of a finished run holds."""
    page = tmp_path_factory.mktemp("report") / "report.html"
    options = ["--report", page, "--directory", tree, "--nolock"]
    done = run(tree, *TARGETS, cores=1, options=options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    text = page.read_text()
    assert "Duplicate" not in done.stderr
    return {name: part(text, name) for name in PARTS}


def test_the_report_holds_tables_charts_curves_and_montages(report):
    tables = ("miou.csv", "miou_by_group.csv", "inputs.csv", "filling_rates.csv")
    pictures = ("classes", "stages", "curves", "thresholds", "filling_rates", *SYSTEMS)
    expected = {f"results/demo/{name}" for name in tables} | {f"results/demo/pictures/{name}.png" for name in pictures}
    results = report["results"]
    assert expected <= set(results)
    for path, item in results.items():
        assert item["labels"] and item["data_uri"].startswith("data:"), path
        assert "demo" in item["caption"] and "{{" not in item["caption"], path
    assert results["results/demo/pictures/eps.png"]["labels"] == {"system": "eps"}
    assert results["results/demo/miou.csv"]["labels"] == {"table": "mIoU"}


def test_the_report_is_sorted_and_shows_the_workflow(report):
    assert {name: set(found) for name, found in report["categories"].items()} == {
        name: {"demo"} for name in ("Tables", "Pictures", "Images")
    }
    diagram = json.dumps(report["rulegraph_spec"])
    assert all(
        f'"{rule}"' in diagram for rule in ("index", "train_classifier", "cams", "masks", "train_segmenter", "miou")
    )
    assert "train_classifier" in json.dumps(report["runtimes_spec"])


def picture(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def test_charts_of_a_finished_run(tree):
    for name in ("classes", "stages"):
        shown = picture((tree / f"results/demo/pictures/{name}.png").read_bytes())
        assert min(shown.shape[:2]) > 200 and len(np.unique(shown.reshape(-1, 3), axis=0)) > 20


def test_bars_are_as_long_as_their_values():
    """The bar of twice the value has twice the pixels, in the system's own colour, the first of its scheme."""
    colour = [31, 119, 180]
    long, short = (
        int((picture(class_bars([("dog", {"eps": value})], "IoU, %")) == colour).all(axis=2).sum())
        for value in (80.0, 40.0)
    )
    assert long == pytest.approx(2 * short, rel=0.05)
    assert class_bars([("dog", {"eps": 1.0})], "x") == class_bars([("dog", {"eps": 1.0})], "x")


def test_as_many_panels_as_classes_and_none_for_no_classes():
    many = [(f"class {number}", {"eps": 50.0, "cam": 30.0}) for number in range(81)]
    assert picture(class_bars(many, "x")).shape[0] > 3 * picture(class_bars([("dog", {"eps": 1.0})], "x")).shape[0]
    assert picture(class_bars([], "x")).size


def test_lines_go_through_the_stages_that_a_system_has():
    systems = {"eps": {"mask": (50.0, 1.0), "segmentation": (60.0, 0.0)}, "truth": {"segmentation": (70.0, 2.0)}}
    splits = {"mask": ["train"], "segmentation": ["val"]}
    content = stage_lines(systems, splits)
    assert content == stage_lines(systems, splits) != stage_lines({"eps": systems["eps"]}, splits)
    assert picture(stage_lines({}, {})).size
