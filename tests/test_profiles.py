"""The shipped profiles and the environments: what they say is known to the pinned Snakemake, and none makes anything stale."""

import os
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from conftest import copy_sources, dry_run, python, run

from workflow_scripts.config.planning.rules import Rules
from workflow_scripts.config.planning.stages import STAGES

SCENES, MASKS = "results/demo/rendered/images.h5", "results/demo/seed-0/masks/eps.h5"
PROFILES = sorted(path.parent.name for path in Path("profiles").glob("*/config.yaml"))
CLUSTERS = ["generic", "kubernetes", "slurm"]
# Keep what must not differ from profile to profile: when a job is stale, and what to do about an interrupted one.
COMMON = ("rerun-triggers", "max-checksum-file-size", "rerun-incomplete", "keep-going", "show-failed-logs")


def profile(name: str) -> dict:
    return yaml.safe_load(Path(f"profiles/{name}/config.yaml").read_text())


def test_profiles_agree_on_what_is_stale():
    assert PROFILES == sorted(["default", *CLUSTERS])
    expected = {key: profile("default")[key] for key in COMMON}
    for name in CLUSTERS:
        assert {key: profile(name)[key] for key in COMMON} == expected, name


def test_the_limit_of_one_machine_holds_on_no_cluster():
    assert profile("default")["resources"] == ["gpu=1"]
    assert not any("resources" in profile(name) or "cores" in profile(name) for name in CLUSTERS)


def test_sizes_are_not_guessed_from_inputs():
    """Snakemake's guess is a coroutine that it does not always wait for, and warns of."""
    for name in PROFILES:
        named = {text.split("=")[0] for text in profile(name)["default-resources"]}
        assert named >= {"gpu", "mem_mb", "disk_mb"}, name


def test_no_rule_names_what_only_one_cluster_has():
    text = "\n".join(path.read_text() for path in [Path("Snakefile"), *Path("rules").iterdir()])
    assert not re.search(r"\b(account|partition|qos|constraint|gres|slurm\w*)\b", text)


def test_stages_are_told_the_cores_of_their_job(raw):
    """A stage whose code asks for them, itself or through training, must be given them by its rule."""
    asking = {path.stem for path in Path("workflow_scripts/stages").glob("*.py") if "job.workers" in path.read_text()}
    assert {"index", "train_saliency", "train_segmenter", "cams", "masks"} <= asking
    for declared in STAGES.values():
        if (declared.module or declared.name) in asking:
            assert "--workers {threads}" in declared.command and Rules(raw).threads(declared) != 1, declared.name


def test_every_option_of_a_profile_is_one_of_snakemake_or_of_the_executor_it_names():
    usage = python(Path.cwd(), "-m", "snakemake", "--help").stdout
    known = {option.removeprefix("--") for option in re.findall(r"--[a-z][\w-]+", usage)}
    for name in PROFILES:
        chosen = profile(name)
        plugins = [chosen.get("executor", "local"), f"storage-{chosen.get('default-storage-provider')}"]
        foreign = [key for key in chosen if key not in known]
        # of a plugin that is not installed nothing more can be said
        assert all(key.startswith(f"{plugin}-") for key in foreign for plugin in plugins[:1]), (name, foreign)
        assert foreign == [] or find_spec(f"snakemake_executor_plugin_{plugins[0].replace('-', '_')}") is None, foreign


def test_the_profiles_plan_the_same_jobs(tmp_path):
    pytest.importorskip("snakemake_executor_plugin_slurm")
    pytest.importorskip("snakemake_executor_plugin_cluster_generic")
    folder = copy_sources(tmp_path)
    names = ("default", "generic", "slurm")
    planned = [dry_run(folder, MASKS, options=["--workflow-profile", f"profiles/{name}"]) for name in names]
    assert planned[0] == planned[1] == planned[2] and len(planned[0]) > 4


# --- environments -----------------------------------------------------------------------------------------------------


def pins(lines) -> list[str]:
    return [text for line in lines if (text := line.partition("#")[0].strip())]


def test_the_environment_of_conda_has_the_versions_of_pip():
    found = yaml.safe_load(Path("envs/workflow.yaml").read_text())
    by_pip = [entry["pip"] for entry in found["dependencies"] if isinstance(entry, dict)]
    assert by_pip == [pins(Path("requirements.txt").read_text().splitlines())]
    assert "conda-forge" in found["channels"] and "python=3.11" in found["dependencies"]


def test_what_a_cluster_needs_is_installed_for_the_tests_and_not_for_the_demo():
    assert not any("plugin" in line for line in pins(Path("requirements.txt").read_text().splitlines()))
    assert "-r requirements-cluster.txt" in pins(Path("requirements-dev.txt").read_text().splitlines())
    assert all(
        re.fullmatch(r"[\w-]+==[\d.]+", line)
        for line in pins(Path("requirements-cluster.txt").read_text().splitlines())
    )


# Says what Snakemake asks of conda, and makes no environment but a folder, which nothing of a job is taken from.
CONDA = """#!/bin/sh
case "$*" in
    *--version*) echo conda 25.1.0 ;;
    "info --json") echo '{"platform": "linux-64", "conda_prefix": "PREFIX", "root_prefix": "PREFIX", "channels": []}' ;;
    config*) echo '{"get": {"channel_priority": "strict"}}' ;;
    "env create"*)
        for part in "$@"; do
            case "$previous" in --file) cp "$part" PREFIX/asked.yaml ;; --prefix) mkdir -p "$part" ;; esac
            case "$part" in --file=*) cp "${part#--file=}" PREFIX/asked.yaml ;; --prefix=*) mkdir -p "${part#--prefix=}" ;; esac
            previous=$part
        done ;;
esac
"""


@pytest.fixture
def conda(tmp_path, monkeypatch) -> Path:
    """A stand-in for conda, as its packages cannot be had by every test; the folder holds what was asked of it."""
    folder = tmp_path / "conda"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/conda").write_text(CONDA.replace("PREFIX", str(folder)))
    (folder / "bin/conda").chmod(0o755)
    (folder / "bin/activate").write_text("")
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return folder


WITH_CONDA = ("--software-deployment-method", "conda")


def test_runs_with_and_without_conda_agree(tmp_path, conda):
    folder = copy_sources(tmp_path / "tree")
    done = run(folder, SCENES, options=WITH_CONDA)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (conda / "asked.yaml").read_bytes() == Path(
        "envs/workflow.yaml"
    ).read_bytes()  # alone, without its neighbours
    assert dry_run(folder, SCENES) == dry_run(folder, SCENES, options=WITH_CONDA) == []


def test_every_job_that_runs_a_command_has_the_environment(conda, tmp_path):
    """And all can be put in one container."""
    done = python(copy_sources(tmp_path / "tree"), "-m", "snakemake", "--containerize")
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.strip() and not line.startswith(("#", " "))]
    assert [line.split()[0] for line in lines] == ["FROM", "LABEL", "LABEL", "RUN", "COPY", "RUN"]
    assert lines[4].startswith("COPY envs/workflow.yaml ")
    blocks = re.split(r"(?m)^ *rule", Path("rules/stages.smk").read_text())[1:]
    assert len(blocks) == 2 and all('conda: "../envs/workflow.yaml"' in block for block in blocks)
