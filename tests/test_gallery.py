"""The gallery: what its stage writes, where it stands in the DAG, when it is stale. Its page is tested in test_gallery_page."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import zlib

import numpy as np
import pytest
from conftest import SMALL, SOURCES, dry_run, put, python, refused, run
from PIL import Image
from small_gallery import CLASSES, HEIGHT, NASTY, WIDTH, doubt_of, gallery_job, label_of, write_data_set, write_gallery

from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.beside import evenly_spread
from workflow_scripts.evaluation.miou import confusion_matrix, mean_intersection_over_union
from workflow_scripts.evaluation.saliency import foreground_iou
from workflow_scripts.look.gallery import tiles
from workflow_scripts.stages import gallery as stage
from workflow_scripts.store.folders import listed

PAGE = SOURCES / "workflow_scripts" / "look" / "gallery" / "page"
TARGET = "results/demo/gallery/index.html"


def said(text: str):
    """What a script hands to the page: number of the row, if it is one, and the value."""
    number, value = re.fullmatch(r"gallery\.(?:row|data)\((?:(\d+),)?(.*)\);\n", text, re.DOTALL).groups()
    return number and int(number), json.loads(value)


def unpacked(record: dict) -> list[dict | None]:
    """The arrays of a row's cells, as the page takes them from the stream."""
    stream, at, cells = np.frombuffer(zlib.decompress(base64.b64decode(record["maps"])), np.uint8), 0, []
    for cell in record["cells"]:
        if cell is None:
            cells.append(None)
            continue
        found: dict = {"soft": []}
        for size in [record["size"]] * cell["label"]:
            found["label"], at = stream[at : at + size[0] * size[1]].reshape(size), at + size[0] * size[1]
        for soft in cell["soft"]:
            length = soft["size"][0] * soft["size"][1]
            values = np.cumsum(stream[at : at + length], dtype=np.uint8).reshape(soft["size"])
            found["soft"].append((soft["label"], soft["peak"], values))
            at += length
        cells.append(found)
    assert at == len(stream)
    return cells


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    write_data_set(root, train=9, validation=4)
    return root


@pytest.fixture(scope="module")
def written(data_set, tmp_path_factory):
    return write_gallery(data_set, tmp_path_factory.mktemp("gallery")).parent


# What an image becomes


def test_maps_come_back_as_they_were():
    random = np.random.default_rng(0)
    label = random.integers(0, 256, (6, 8), np.uint8)
    soft = [(3, 0.5, random.integers(0, 256, (3, 4), np.uint8)), (0, 2.0, np.full((2, 2), 255, np.uint8))]
    photograph = tiles.jpeg(random.integers(0, 256, (12, 16, 3), np.uint8), (6, 8))
    cells = [None, tiles.Cell(label, soft, 0.5, {0: 0.25}), tiles.Cell(soft=soft[:1])]
    record = json.loads(json.dumps(tiles.record(photograph, (6, 8), cells)))
    first, second, third = unpacked(record)
    assert first is None and (second["label"] == label).all() and "label" not in third
    for found, wanted in zip(second["soft"] + third["soft"], soft + soft[:1], strict=True):
        assert found[:2] == wanted[:2] and (found[2] == wanted[2]).all()
    assert record["cells"][1]["iou"] == {"0": 0.25}
    picture = Image.open(io.BytesIO(base64.b64decode(record["photo"])))
    assert (picture.format, picture.size) == ("JPEG", (8, 6))


def test_sizes_of_pictures_and_heat_maps():
    assert tiles.fitted(375, 500, 500) == (375, 500) and tiles.fitted(96, 128, 500) == (96, 128)
    assert tiles.fitted(1000, 2000, 500) == (250, 500) and tiles.fitted(1, 5000, 500) == (1, 500)
    peak, values = tiles.quantised(np.array([[0, 0.5], [1.0, 2.0]], np.float16))
    assert peak == 2 and values.tolist() == [[0, 64], [128, 255]]
    peak, values = tiles.quantised(np.zeros((4, 300), np.float16))
    assert peak == 0 and values.shape == (1, tiles.HEAT) and not values.any()
    label = np.arange(48, dtype=np.uint8).reshape(6, 8)
    assert set(np.unique(tiles.resized(label, (3, 4)))) <= set(range(48)) and tiles.resized(label, (6, 8)) is label


def test_evenly_spread_rows():
    ids = [str(number) for number in range(10)]
    assert evenly_spread(ids, None) == evenly_spread(ids, 10) == evenly_spread(ids, 99) == ids
    assert (
        evenly_spread(ids, 4) == ["0", "3", "6", "9"] and evenly_spread(ids, 1) == ["0"] and evenly_spread([], 3) == []
    )


# What the stage writes


def test_rows_hold_photograph_maps_and_truth(written):
    number, record = said((written / "files/rows/4.js").read_text())
    saliency, cam, mask, refined, prediction, truth = unpacked(record)
    assert number == 4 and record["size"] == [HEIGHT, WIDTH] and prediction is None
    assert (truth["label"] == label_of(4)).all() and set(np.unique(refined["label"])) == {0, 2}
    assert saliency["soft"][0][0] is None and set(np.unique(saliency["soft"][0][2])) == {3, 200}
    assert [soft[0] for soft in cam["soft"]] == [2, 0] and cam["soft"][0][1] == pytest.approx(0.8, abs=1e-3)
    assert mask["label"].shape == cam["label"].shape == (HEIGHT, WIDTH)
    _, record = said((written / "files/rows/9.js").read_text())  # validation_0
    assert [cell is None for cell in record["cells"]] == [False, True, True, True, False, False]


def test_scores_are_those_of_the_evaluation(written):
    _, told = said((written / "files/data.js").read_text())
    assert told["classes"] == list(CLASSES) and told["splits"] == ["train", "validation"]
    assert [row["id"] for row in told["rows"]] == [f"train_{n}" for n in range(9)] + [
        f"validation_{n}" for n in range(4)
    ]
    assert told["rows"][0]["labels"] == [1, 2] and told["rows"][1]["labels"] == [2] and told["rows"][9]["splits"] == [1]
    assert {row["has"] for row in told["rows"]} == {"111101", "100011"}
    for row in told["rows"]:
        assert Image.open(io.BytesIO(base64.b64decode(row["preview"]))).size == tiles.PREVIEW
    for number in range(9):
        _, record = said((written / f"files/rows/{number}.js").read_text())
        _, cam, mask, refined, _, truth = unpacked(record)
        row = told["rows"][number]["iou"]
        for place, cell in ((1, cam), (2, mask), (3, refined)):
            confusion = confusion_matrix(cell["label"], truth["label"], 4, missed_column=True)
            assert row[place] == pytest.approx(mean_intersection_over_union(confusion), abs=5e-4)
        saliency = unpacked(record)[0]["soft"][0][2]
        assert row[0] == pytest.approx(foreground_iou(saliency, truth["label"]), abs=5e-4)
        assert row[4] is None and row[3] == 1
    assert told["rows"][8]["iou"][2] < told["rows"][1]["iou"][2]
    for number, row in enumerate(told["rows"]):
        assert row["doubt"] == [None, None, None, doubt_of(number) if number < 9 else None, None, None]


def test_large_images_are_scaled_down_and_their_scores_are_not(data_set, written, tmp_path):
    write_gallery(data_set, tmp_path, side=16)
    _, record = said((tmp_path / "files/rows/4.js").read_text())
    assert record["size"] == [12, 16] and unpacked(record)[2]["label"].shape == (12, 16)
    assert np.isin(unpacked(record)[5]["label"], [0, 2, 255]).all()
    whole, small = (said((folder / "files/data.js").read_text())[1]["rows"] for folder in (written, tmp_path))
    assert whole == small


def test_images_without_truth(data_set, tmp_path):
    job = gallery_job(data_set, tmp_path, images=2)
    job.inputs.truth, job.inputs.thresholds = None, []
    stage.main(job)
    _, told = said((tmp_path / "files/data.js").read_text())
    assert [row["id"] for row in told["rows"]] == ["train_0", "train_8", "validation_0", "validation_3"]
    assert all(value is None for row in told["rows"] for value in row["iou"])
    assert "truth" not in {column["stage"] for column in told["columns"]}


def test_equal_bytes_whatever_the_number_of_workers(data_set, written, tmp_path):
    job = gallery_job(data_set, tmp_path)
    stage.main(type(job)(**{**vars(job), "workers": 2}))
    for name in ("files.sha256", "index.html"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


def test_the_listing_holds_every_file(written):
    files = listed(written / "files.sha256")
    assert set(files) == {str(path) for path in (written / "files").rglob("*") if path.is_file()}
    assert {path.name for path in PAGE.iterdir()} == {
        "index.html",
        *(path.name for path in written.glob("files/*.[cj]s*")),
    } - {"data.js"}
    if shutil.which("sha256sum"):
        assert subprocess.run(["sha256sum", "--quiet", "-c", "files.sha256"], cwd=written).returncode == 0


def test_names_are_no_markup(written):
    page = (written / "index.html").read_text()
    assert NASTY not in page and "{dataset}" not in page and "{version}" not in page
    version = hashlib.sha256((written / "files.sha256").read_bytes()).hexdigest()[:12]
    assert set(re.findall(r"files/(\w+\.(?:js|css))\?" + version, page)) == {
        path.name for path in written.glob("files/*.*")
    }
    assert "http" not in re.sub(r'http-equiv="', "", page)  # nothing is fetched from elsewhere


def test_a_stage_that_fails_leaves_the_old_gallery(data_set, tmp_path, monkeypatch):
    page = write_gallery(data_set, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (tmp_path / ".files.1.tmp").mkdir()  # of a run that was killed
    row, done = stage.row, []

    def failing(state, identifier):
        if len(done) == 3:
            raise OSError("disk full")
        done.append(identifier)
        return row(state, identifier)

    monkeypatch.setattr(stage, "row", failing)
    with pytest.raises(OSError, match="disk full"):
        write_gallery(data_set, tmp_path, images=4)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "files.sha256", "index.html"]
    monkeypatch.undo()
    write_gallery(data_set, tmp_path, images=1)
    assert len(list((tmp_path / "files/rows").iterdir())) == 2 and page.read_bytes() != before[page]


# Its place in the DAG


def test_columns_are_the_artifacts_of_the_systems_each_once(raw):
    put(raw, "datasets.demo.gallery", {"systems": ["cam", "eps", "eps_crf", "eps_affinity"], "side": 300})
    job = Plan(Config(raw)).job("gallery", {"dataset": "demo"})
    columns = [(column["stage"], column["name"], column["refined"]) for column in job.settings["columns"]]
    assert columns[:7] == [
        ("saliency", "rendered", False),
        ("cams", "cam", False),
        ("cams", "eps", False),
        ("masks", "cam", False),
        ("masks", "eps", False),
        ("masks", "eps_crf", True),
        ("masks", "eps_affinity", True),
    ]
    assert ("predictions", "cam/large_fov/multi_crf", True) in columns and len(columns) == len(set(columns)) == 15
    assert job.settings["columns"][2]["systems"] == ["eps", "eps_crf", "eps_affinity"]
    assert job.inputs["artifacts"][1] == "results/demo/seed-0/cams/cam.h5" and len(job.inputs["artifacts"]) == 15
    assert job.inputs["thresholds"] == [f"results/demo/seed-0/thresholds/{name}.json" for name in ("cam", "eps")]
    assert job.settings["splits"] == ["train", "val"] and job.settings["images"] is None


def test_systems_are_those_of_the_table_unless_said(raw):
    put(raw, "datasets.demo.gallery", {"side": 300})
    plan = Plan(Config(raw))
    shown = {
        system
        for column in plan.job("gallery", {"dataset": "demo"}).settings["columns"]
        for system in column["systems"]
    }
    assert shown == set(raw["datasets"]["demo"]["systems"])
    assert TARGET in plan.on_request("demo") and TARGET not in plan.targets("demo")


def test_doubt_stands_where_its_table_speaks_of(raw):
    """The tables of the systems' masks that can be compared with anything, each once; columns of the artifacts that they read."""
    systems = ["cam", "eps", "eps_crf", "truth"]
    put(raw, "datasets.demo.gallery", {"systems": systems, "side": 300})
    job = Plan(Config(raw)).job("gallery", {"dataset": "demo"})
    assert job.inputs["doubts"] == [] and {column["doubt"] for column in job.settings["columns"]} == {None}
    put(raw, "datasets.demo.gallery.doubt", True)
    plan = Plan(Config(raw))
    job = plan.job("gallery", {"dataset": "demo"})
    assert job.inputs["doubts"] == [f"results/demo/seed-0/doubt/{name}.csv" for name in systems]
    found = {(column["stage"], column["name"]): column["doubt"] for column in job.settings["columns"]}
    assert found["cams", "eps"] == [1, "maps"] and found["masks", "eps_crf"] == [2, "mask"]
    assert found["saliency", "rendered"] == [1, "saliency"] and found["masks", "cam"] == [0, "mask"]
    # Those of the training split are not shown.
    assert {doubt for (stage, _), doubt in found.items() if stage == "predictions"} == {None}
    assert set(job.inputs["doubts"]) <= set(plan.on_request("demo"))


def test_mistakes_are_told_in_one_line(raw):
    def job():
        return Plan(Config(raw)).job("gallery", {"dataset": "demo"})

    put(raw, "datasets.demo.gallery", None)
    refused(job, "config: datasets.demo.gallery: missing", "{images: 200, side: 500}")
    assert TARGET not in Plan(Config(raw)).on_request("demo")
    put(raw, "datasets.demo.gallery", {"side": 300, "splits": ["vall"]})
    refused(job, "datasets.demo.gallery.splits", "no split 'vall'", "'val'")
    put(raw, "datasets.demo.gallery", {"side": 300, "systems": ["epss"]})
    refused(job, "no block 'epss'", "'eps'")
    put(raw, "datasets.demo.gallery", {"side": 0})
    refused(job, "datasets.demo", "gallery.side")
    put(raw, "datasets.demo.gallery", {"side": 300, "image": 3})
    refused(job, "unknown key 'image'", "'images'")


def test_without_truth_nothing_is_scored(raw):
    change = {"kind": "csv", "table": "none.csv", "classes": ["cat"], "splits": {"all": {"ids": ""}}, "seeds": [0]}
    change |= {
        "use": {"train": "all", "masks": "all", "evaluation": ["all"]},
        "torch_threads": 1,
        "workers": 1,
        "gpus": 0,
    }
    change |= {"threshold": 0.2, "systems": ["cam"], "montage": 2, "gallery": {"side": 300}}
    raw["datasets"]["mine"] = change
    job = Plan(Config(raw)).job("gallery", {"dataset": "mine"})
    assert job.inputs["truth"] == job.inputs["thresholds"] == [] and job.settings["threshold"] == 0.2


def verified(folder) -> tuple[int, str]:
    done = python(folder, "-m", "workflow_scripts", "verify", "results/demo", "--configfile", *SMALL)
    return done.returncode, done.stdout


def test_the_gallery_of_the_small_demo(clone):
    """Made by Snakemake, checked by `verify`, stale when what it shows or its page changes, and nothing else with it."""
    done = run(clone, TARGET)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    folder = clone / "results/demo/gallery"
    assert {path.name for path in folder.iterdir()} == {
        *("index.html", "index.html.json", "files.sha256", "files.sha256.json", "files"),
    }
    assert len(list((folder / "files/rows").iterdir())) == 10
    assert dry_run(clone, TARGET) == [] and verified(clone)[0] == 0

    damaged, missing = folder / "files/rows/0.js", folder / "files/rows/1.js"
    text = damaged.read_text()
    damaged.write_text(text.replace("A", "B"))
    missing.rename(folder / "files/rows/99.js")
    status, printed = verified(clone)
    lines = {line.split()[0]: line.split()[1] for line in printed.splitlines()[:-1]}
    rows = "results/demo/gallery/files/rows"
    assert status == 1 and lines == {
        "corrupt": f"{rows}/0.js:",
        "missing": f"{rows}/1.js:",
        "foreign": f"{rows}/99.js:",
    }

    style = clone / "workflow_scripts/look/gallery/page/gallery.css"
    style.write_text(style.read_text() + "\n/* other */\n")
    assert dry_run(clone, TARGET, "results/demo/miou.csv") == [("gallery", "")]
    shutil.rmtree(folder / "files")
    assert dry_run(clone, TARGET) == [("gallery", "")]
    assert [line for line in verified(clone)[1].splitlines() if "/files/" in line] == []
