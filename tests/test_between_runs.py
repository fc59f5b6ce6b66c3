"""Snakemake's cache between workflows: what another clone has made is taken from it, and only that."""

from pathlib import Path

import pytest
import yaml
from conftest import SMALL, copy_sources, put, python, run

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.commands import verify
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config

CONTENT = b"weights"
SALIENCY = "results/demo/saliency/rendered"
KEPT = (f"{SALIENCY}.safetensors", f"{SALIENCY}.curve.csv", f"{SALIENCY}.h5")


@pytest.fixture
def common(tmp_path, monkeypatch) -> Path:
    """The folder that runs share."""
    folder = tmp_path / "common"
    folder.mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(folder))
    return folder


@pytest.fixture
def settings(tmp_path) -> tuple[Path, str]:
    """A block that starts from a file from the network, and where the file goes."""
    (tmp_path / "net.pth").write_bytes(CONTENT)
    sha256, change = file_sha256(tmp_path / "net.pth"), {}
    put(change, "classifiers.cam.initial", {"url": (tmp_path / "net.pth").as_uri(), "sha256": sha256})
    (tmp_path / "initial.yaml").write_text(yaml.safe_dump(change))
    return tmp_path / "initial.yaml", f"data/weights/{sha256[:12]}-net.pth"


def made(folder: Path, overlay: Path, *targets: str) -> None:
    done = run(folder, *targets, configfiles=[*SMALL, overlay], options=["--cache"])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_two_clones_with_one_cache(tmp_path, common, settings, monkeypatch):
    overlay, weights = settings
    kept, clones = [weights, *KEPT], [copy_sources(tmp_path / name) for name in ("one", "other")]
    kept += [f"{path}.json" for path in kept]
    for clone in clones:
        made(clone, overlay, f"{SALIENCY}.h5", weights)
    one, other = clones
    ran = [{log.parent.name for log in clone.glob("logs/**/*.log") if log.stat().st_size} for clone in clones]
    assert ran == [{"demo", "train_saliency", "saliency", "weights"}, {"demo"}]  # render and index are made anew
    for path in kept:
        assert (other / path).resolve() == (one / path).resolve() and (one / path).resolve().parent == common
        assert (one / path).read_bytes() == (other / path).read_bytes()
    assert len(list(common.iterdir())) == len(kept)
    assert (other / weights).read_bytes() == CONTENT

    monkeypatch.chdir(other)
    plan = Plan(Config.load(*SMALL, overlay))
    wrong = {path for _, path, _ in verify.check(plan, "demo")}
    assert not wrong & {*kept, "results/demo/index.h5"} and "results/demo/truth.h5" in wrong

    # What would run with another setting is another thing, and neither takes the place of the other.
    change = {"datasets": {"demo": {"overrides": {"saliency": {"rendered": {"data": {"rendered": 17}}}}}}}
    (tmp_path / "change.yaml").write_text(yaml.safe_dump(change))
    options = ["--cores", "1", "--dry-run", "--cache", "--configfile", *SMALL, overlay, tmp_path / "change.yaml"]
    said = python(other, "-m", "snakemake", *options, "--", f"{SALIENCY}.h5").stdout
    assert f"{SALIENCY}.safetensors will be written to" in said and f"{SALIENCY}.h5 will be written to" in said


def test_without_the_option_rules_are_as_others(tmp_path, common):
    """No word of the cache, and files of their own."""
    said = python(copy_sources(tmp_path / "one"), "-m", "snakemake", "--dry-run", "--quiet", "host", "--cores", "1")
    assert said.returncode == 0 and "cach" not in said.stdout + said.stderr
    assert not list(common.iterdir())
