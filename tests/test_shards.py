"""Stages split over jobs: the bytes of one job, exact job lists, nothing stale, and shards that are used again."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from conftest import SMALL, copy_sources, copy_tree, dry_run, put, refused, run
from demo_graph import named
from training_set import namespace

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.layers import read_settings
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.planning.rules import Rules
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.by_image import part_of, remove_shards, store
from workflow_scripts.run.command import Job, fingerprint
from workflow_scripts.store.provenance import read_sidecar, write_sidecar

MASK, WALK, BOXES = (f"results/demo/seed-0/masks/{name}.h5" for name in ("eps_crf", "cam_irn", "box_crf"))
TRIGGERS = {"code", "mtime", "params"}


class Wildcards(dict):
    """As Snakemake hands them to a rule's functions."""

    __getattr__ = dict.__getitem__


def sharded(count: int) -> list[str]:
    return ["--config", f"shards={count}"]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("images", [0, 1, 5, 24])
def test_shards_are_the_images_in_order(images, count):
    ids = [str(number) for number in range(images)]
    parts = [part_of(ids, f"{number}-of-{count}") for number in range(1, count + 1)]
    assert [identifier for part in parts for identifier in part] == ids
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert part_of(ids, None) == ids


def test_a_shard_that_is_none():
    for text in ("0-of-3", "4-of-3", "1", "a-of-b"):
        refused(lambda text=text: part_of(["a"], text), text, "expected as 2-of-4")


def test_only_what_takes_long_is_split(tmp_path):
    jobs = named(dry_run(copy_sources(tmp_path), MASK, WALK, "results/demo/seed-0/masks/eps.h5", options=sharded(2)))
    split = {
        "saliency_shard rendered", "cams_shard 0/eps", "cams_shard 0/cam", "affinity_labels_shard 0/cam_irn",
        "masks_shard 0/eps_crf", "masks_shard 0/cam_irn",
    }  # fmt: skip
    parts = {f"{job}/{number}/2".replace(" 0/", " ") for job in split for number in (1, 2)}
    whole = {
        "render", "index", "train_saliency rendered", "saliency rendered", "train_classifier eps", "train_classifier cam",
        "cams eps", "cams cam", "affinity_labels cam_irn", "train_affinity cam_irn", "masks eps_crf", "masks cam_irn",
        "masks eps",
    }  # fmt: skip
    assert jobs == whole | parts


@pytest.mark.parametrize("value", ["0", "-1", "some", 1.5, True])
def test_a_number_of_shards_that_is_none(value):
    raw = read_settings() | {"shards": value}
    refused(lambda: Config(raw), "config: shards", "1 or more")


def test_the_job_that_puts_shards_together_asks_for_no_gpu():
    raw = read_settings()
    raw["datasets"]["demo"]["gpus"] = 1
    names = Wildcards(dataset="demo", seed="0", cam="eps")
    assert Rules(raw).gpus("cams")(names) == 1
    rules = Rules(raw | {"shards": "4"})
    assert rules.gpus("cams")(names) == 0 and rules.image_workers("cams")(names) == 1
    assert rules.gpus("cams")(Wildcards(names, shard="1", shards="4")) == 1


@pytest.mark.parametrize(("mask", "parts"), [("cam", 0), ("boxes", 0), ("grabcut", 3), ("eps_crf", 3), ("bana", 3)])
def test_masks_are_split_where_an_image_takes_long(mask, parts):
    rules = Rules(read_settings() | {"shards": 3})
    assert len(rules.inputs("masks")(Wildcards(dataset="voc", seed="0", mask=mask))["shards"]) == parts


def state_of(job: Job) -> int:
    return job.settings.side


def arrays_of(side: int, identifier: str) -> dict[str, np.ndarray] | str:
    if identifier == "bad":
        return "bad: is no image"
    rng = np.random.default_rng(int(identifier))
    return {"scores": rng.random((2, side, side)).astype(np.float16), "classes": np.array([0, 2], np.int16)}


def stored(path, ids, **about) -> bytes:
    settings = {"dataset": "demo", "side": 40}
    key = fingerprint('{"dataset":"demo","side":40}', "0", {})
    job = Job(namespace(settings), SimpleNamespace(), SimpleNamespace(cams=str(path)), 1, key, **about)
    index = SimpleNamespace(classes=["a", "b", "c"], split=lambda name: ids)
    store(job, "cam", index, ["train"], state_of, arrays_of)
    return path.read_bytes()


def test_shards_together_have_the_bytes_of_one_artifact(tmp_path):
    """More images than a file is kept open for, arrays not in the order of their names."""
    ids = [str(number) for number in range(70)]
    whole = stored(tmp_path / "whole.h5", ids)
    shards = [f"{tmp_path}/eps.h5.{number}-of-3" for number in (1, 2, 3)]
    for number, path in enumerate(shards, 1):
        assert len(stored(Path(path), ids, shard=f"{number}-of-3")) < len(whole) / 2
        write_sidecar(path, "cams", '{"dataset":"demo","side":40}', "0", {}, 2.0, ["stages.cams"])
    assert stored(tmp_path / "eps.h5", ids, shards=tuple(shards)) == whole
    write_sidecar(str(tmp_path / "eps.h5"), "cams", "{}", "0", {}, 1.0, [], shards)
    assert read_sidecar(tmp_path / "eps.h5")["seconds"] == 7.0
    write_sidecar(shards[1], "cams", '{"dataset":"demo","side":41}', "0", {}, 2.0, [])
    refused(lambda: stored(tmp_path / "eps.h5", ids, shards=tuple(shards)), "2-of-3", "no shard of this job")


def test_faults_of_all_images_are_told_together(tmp_path):
    with pytest.raises(UserError, match="cams of demo: 1 fault\nbad: is no image"):
        stored(tmp_path / "a.h5", ["1", "bad", "2", "bad"])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def masked(tmp_path_factory) -> Path:
    """Sources with masks from boxes, which need no network."""
    folder = copy_sources(tmp_path_factory.mktemp("masked"))
    done = run(folder, BOXES)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


def test_shards_give_the_same_bytes_and_make_nothing_stale(masked, tmp_path):
    clone = copy_tree(masked, tmp_path / "clone")
    assert dry_run(clone, BOXES, options=sharded(3)) == []
    (clone / BOXES).unlink()
    done = run(clone, BOXES, options=sharded(3))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert (clone / BOXES).read_bytes() == (masked / BOXES).read_bytes()
    assert not list((clone / "results").rglob("*-of-*"))
    assert dry_run(clone, BOXES) == dry_run(clone, BOXES, options=sharded(2)) == []


def test_shards_of_an_interrupted_run_are_used_again(masked, tmp_path):
    clone = copy_tree(masked, tmp_path / "clone")
    (clone / BOXES).unlink()
    first = f"{BOXES}.1-of-2"
    done = run(clone, first, options=sharded(2))
    assert done.returncode == 0 and (clone / first).exists(), done.stderr[-3000:]
    assert named(dry_run(clone, BOXES, options=sharded(2))) == {"masks_shard box_crf/2/2", "masks box_crf"}
    assert named(dry_run(clone, BOXES)) == {"masks box_crf"}
    (clone / "change.yaml").write_text("masks: {box_crf: {crf: {iterations: 2}}}")
    changed = dry_run(clone, BOXES, configfiles=[*SMALL, "change.yaml"], options=sharded(2))
    assert named(changed) == {"masks_shard box_crf/1/2", "masks_shard box_crf/2/2", "masks box_crf"}


def test_shards_of_another_number_are_removed(tmp_path):
    kept = [str(tmp_path / f"eps.h5.{number}-of-2") for number in (1, 2)]
    names = ["eps.h5", "eps.h5.json", "eps.h5.1-of-3", "eps.h5.1-of-3.json", "eps.h5.x-of-3", "cam.h5.1-of-3"]
    for path in [*kept, *(f"{path}.json" for path in kept), *(tmp_path / name for name in names)]:
        open(path, "w").close()
    remove_shards(tmp_path / "eps.h5", kept)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"eps.h5", "eps.h5.json", "eps.h5.x-of-3", "cam.h5.1-of-3"} | {
        f"eps.h5.{number}-of-2{end}" for number in (1, 2) for end in ("", ".json")
    }


def test_files_that_a_job_reads_are_among_its_params(raw):
    """Snakemake's own list of them would count shards, so profiles leave that trigger out."""
    names = {"dataset": "demo", "seed": "0", "mask": "eps_crf"}
    before = Plan(Config(raw))
    after = Plan(Config(put(raw, "masks.eps_crf.cam", "cam")))
    assert before.job("masks", names).settings == after.job("masks", names).settings
    assert before.settings("masks", names) != after.settings("masks", names)
    profiles = [yaml.safe_load(path.read_text()) for path in Path("profiles").glob("*/config.yaml")]
    assert profiles and all({*profile["rerun-triggers"]} == TRIGGERS for profile in profiles)
