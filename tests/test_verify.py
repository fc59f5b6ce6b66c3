"""`verify`: results are checked against configuration, code, parents and their own bytes, without Snakemake's memory."""

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import h5py
import pytest
from conftest import SMALL, SOURCES, copy_sources, python
from demo_graph import below, demo, edit, named, of, stale
from own_photographs import CSV, plan_of, write_photographs

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.commands.verify import check, other_versions
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.store.provenance import parent_digests, read_sidecar, sidecar_path, write_sidecar

CHANGES = {
    "saliency": (demo(saliency={"rendered": {"data": {"rendered": 17}}}), below("train_saliency rendered")),
    "classifier": (
        {"classifiers": {"eps": {"options": {"foreground_weight": 0.6}}}},
        below("train_classifier eps"),
    ),
    "cam": ({"cams": {"cam": {"flip": False}}}, below("cams cam")),
    "mask threshold": ({"masks": {"eps": {"threshold": 0.25}}}, below("masks eps", "masks eps_crf")),
    "mask crf": ({"masks": {"eps_crf": {"crf": {"iterations": 9}}}}, below("masks eps_crf")),
    "segmenter": (
        demo(segmenters={"large_fov": {"dropout": 0.3}}),
        below("train_segmenter eps/large_fov", "train_segmenter truth/large_fov"),
    ),
    "prediction": ({"predictions": {"multi": {"flip": True}}}, below("predictions eps/large_fov/multi")),
    "split": ({"datasets": {"demo": {"splits": {"thresholds": {"first": 5}}}}}, below("index")),
}


def outputs(folder: Path, jobs: Iterable[str]) -> set[str]:
    """Artifacts of jobs of the demo."""
    plan = Plan(Config.load(*(folder / name for name in SMALL)))
    parts = ("seed", "saliency", "classifier", "cam", "affinity", "mask", "segmenter", "prediction", "system")
    found = set()
    for stage, wildcards in plan.jobs("demo"):
        names = "/".join(wildcards[part] for part in parts if part in wildcards)
        if named([(stage, names)]) <= set(jobs):
            found |= set(plan.outputs(stage, wildcards).values())
    return found


def verify(folder: Path, *overlays: Path, deep: bool = False) -> tuple[int, dict[str, set[str]]]:
    """Exit status, and the paths that `verify` lists by state."""
    arguments = [*(["--deep"] if deep else []), "results/demo", "--configfile", *SMALL, *overlays]
    done = python(folder, "-m", "workflow_scripts", "verify", *arguments)
    assert bool(done.stderr) == deep and "Traceback" not in done.stderr  # its progress
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


@pytest.mark.parametrize(("change", "jobs"), CHANGES.values(), ids=CHANGES)
def test_verify_lists_what_a_changed_setting_makes_stale(bare, overlay, change, jobs):
    assert verify(bare, overlay(change)) == (1, {"stale": outputs(bare, jobs)})


def test_verify_names_the_setting(bare, overlay):
    arguments = ["results/demo", "--configfile", *SMALL, overlay(CHANGES["mask crf"][0])]
    done = python(bare, "-m", "workflow_scripts", "verify", *arguments)
    assert (
        "results/demo/seed-0/masks/eps_crf.h5: settings changed: masks.eps_crf.crf.iterations 10 -> 9\n" in done.stdout
    )


def test_verify_lists_what_edited_code_makes_stale(bare):
    edit(bare, "refine/dense_crf.py")
    users = *of("affinity_labels"), "masks eps_crf", "masks bana", "predictions eps/large_fov/multi_crf"
    assert verify(bare) == (1, {"stale": outputs(bare, below(*users))})


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
    (bare / f"{name}.json").write_text("{}")
    assert verify(bare)[1]["foreign"] == {name}


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "3", "null", "{}", "parents", "parents: list", "sha256: null", "settings: text"]
)
def test_a_sidecar_is_whole_or_none(tmp_path, content):
    path = tmp_path / "eps.h5"
    path.write_bytes(b"maps")
    write_sidecar(str(path), "cams", '{"flip":true}', "0" * 32, {}, 1.0, ["command"])
    sidecar = sidecar_path(path)
    record = json.loads(sidecar.read_text())
    assert read_sidecar(path) == record
    changes = {
        "parents": {key: value for key, value in record.items() if key != "parents"},
        "parents: list": record | {"parents": []},
        "sha256: null": record | {"sha256": None},
        "settings: text": record | {"settings": "flip"},
    }
    if content is None:
        sidecar.unlink()
    else:
        sidecar.write_text(json.dumps(changes[content]) if content in changes else content)
    assert read_sidecar(path) is None
    below = tmp_path / "masks.h5"
    below.write_bytes(b"masks")
    write_sidecar(str(below), "masks", "{}", "0", parent_digests([str(path)]), 1.0, [])
    assert read_sidecar(below)["parents"] == {str(path): file_sha256(path)}


def test_verify_finds_what_is_missing_and_what_does_not_belong(bare):
    name, stranger = "results/demo/seed-0/masks/eps_crf.h5", "results/demo/seed-0/masks/mine.h5"
    (bare / name).rename(bare / stranger)
    found = {"missing": {name}, "foreign": {stranger}, "stale": outputs(bare, below("masks eps_crf")) - {name}}
    assert verify(bare) == (1, found)


def test_verify_tells_a_stopped_training_from_a_stranger(bare):
    name = "results/demo/seed-0/classifiers/eps.safetensors"
    for path in (name, f"{name}.json"):
        (bare / path).unlink()
    (bare / f"{name}.state").write_bytes(b"saved")
    (bare / "results/demo/mine.state").write_bytes(b"saved")
    shard = "results/demo/seed-0/cams/eps.h5.1-of-2"
    (bare / shard).write_bytes(b"a half")
    found = verify(bare)[1]
    assert (found["unfinished"], found["foreign"]) == ({f"{name}.state", shard}, {"results/demo/mine.state"})
    assert found["missing"] == {name}


def test_verify_finds_what_was_made_from_another_parent(bare):
    """An artifact and its sidecar, both sound, from elsewhere: what is below was made from the one before."""
    name = "results/demo/seed-0/cams/eps.h5"
    path, sidecar = bare / name, bare / f"{name}.json"
    path.write_bytes(path.read_bytes() + b"\0")
    record = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps(record | {"sha256": file_sha256(path)}))
    assert verify(bare) == (1, {"stale": outputs(bare, below("cams eps")) - {name}})


def test_verify_deep_finds_what_was_written_wrong(bare):
    """Sound artifacts, and one whose bytes are those of its sidecar, but not what a mask holds."""
    assert verify(bare, deep=True) == (0, {})
    name = "results/demo/seed-0/masks/eps.h5"
    with h5py.File(bare / name, "r+") as file:
        next(iter(file.values()))["label"][0, 0] = 200
    record = read_sidecar(bare / name) | {"sha256": file_sha256(bare / name)}
    (bare / f"{name}.json").write_text(json.dumps(record))
    below_it = outputs(bare, below("masks eps")) - {name}
    assert verify(bare) == (1, {"stale": below_it})
    assert verify(bare, deep=True) == (1, {"wrong": {name}, "stale": below_it})


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("results/demmo", "error: config: no data set 'demmo', did you mean 'demo'? correct it"),
        ("elsewhere/demo", "error: elsewhere/demo: expected results/{dataset}, in the folder that snakemake ran in"),
    ],
)
def test_verify_of_no_results(tmp_path, folder, message):
    done = python(copy_sources(tmp_path), "-m", "workflow_scripts", "verify", folder)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", message + "\n")


def test_versions_of_packages_that_decide_bytes(tmp_path, monkeypatch):
    """torch for what is made with networks, the dense CRF for what is made with it, numpy for all."""
    monkeypatch.chdir(tmp_path)
    plan = Plan(Config.load(*(SOURCES / name for name in SMALL)))
    names, now = ("cams/eps.h5", "masks/eps.h5", "masks/eps_crf.h5"), {}
    for name, modules in zip(names, (["networks.tiny"], ["refine.background"], ["refine.dense_crf"]), strict=True):
        path = f"results/demo/seed-0/{name}"
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"")
        write_sidecar(path, "masks", "{}", "", {}, 1.0, modules)
        now = json.loads(sidecar_path(path).read_text())["versions"]
    assert list(other_versions(plan, "demo")) == []

    def told(**versions) -> dict[str, str]:
        for name in names:
            path = sidecar_path(f"results/demo/seed-0/{name}")
            path.write_text(json.dumps(json.loads(path.read_text()) | {"versions": now | versions}))
        return {path.removeprefix("results/demo/seed-0/"): text for path, text in other_versions(plan, "demo")}

    assert told(torch="2.0", h5py="1") == {"cams/eps.h5": f"made under torch 2.0 (here {now['torch']})"}
    assert told(pydensecrf2="0.1").keys() == {"masks/eps_crf.h5"}
    assert told(numpy="1.0").keys() == {*names} and "numpy 1.0" in told(numpy="1.0")["masks/eps.h5"]


def test_files_that_artifacts_are_made_from(tmp_path, monkeypatch):
    """Photographs that are gone, and a model of other bytes, from which maps were made."""
    monkeypatch.chdir(tmp_path)
    write_photographs()
    overrides = {
        "saliency": {"supplied": None, "u2net": {"models": "models"}},
        "classifiers": {"eps": {"saliency": "u2net"}},
    }
    plan = plan_of(CSV, systems=["eps"], overrides=overrides)
    Path("models").mkdir()
    Path("models/u2net.onnx").write_bytes(b"no model")
    Path("VOC/JPEGImages/photo_1.jpg").unlink()
    found = {path: (state, reason) for state, path, reason in check(plan, "mine") if state in {"wrong", "missing"}}
    assert found["VOC/JPEGImages"] == ("missing", "images of datasets.mine: missing 1 of 8; restore what was there")
    assert found["models/u2net.onnx"][0] == "wrong" and "of another checksum" in found["models/u2net.onnx"][1]
