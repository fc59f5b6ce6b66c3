"""Runs of Snakemake: the Python of their jobs, the workflow as a module of another, and whose locks are whose."""

import csv
import errno
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import SOURCES, copy_sources, environment
from snakemake.exceptions import WorkflowError
from snakemake.persistence.file import FilePersistence
from snakemake.settings.types import DeploymentMethod

from workflow_scripts.base import stopping
from workflow_scripts.config.planning.rules import Command, Rules
from workflow_scripts.workflow import runs

INDEX = "results/demo/index.h5"
ODD = "a {b} 'c' \"d\" $HOME é"

# --- the Python of jobs -----------------------------------------------------------------------------------------------


def started(root: Path, *methods: DeploymentMethod) -> list[str]:
    """What a shell makes of the command: the variables, then the program."""
    workflow = SimpleNamespace(deployment_settings=SimpleNamespace(deployment_method=set(methods)))
    return shlex.split(runs.python(str(root), workflow))


def test_jobs_have_the_python_of_snakemake_and_the_users_path_behind_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/one::/two words:")  # an empty entry is the working folder
    *variables, program = started(tmp_path / ODD)
    assert program == sys.executable
    assert f"PYTHONPATH={tmp_path / ODD}/envs/python:/one:/two words" in variables
    assert "PYTHONSAFEPATH=1" in variables and f"WORKFLOW_PARENT={stopping.this_process()}" in variables
    monkeypatch.delenv("PYTHONPATH")
    assert f"PYTHONPATH={tmp_path}/envs/python" in started(tmp_path)


@pytest.mark.parametrize("method", [DeploymentMethod.CONDA, DeploymentMethod.APPTAINER])
def test_environments_of_conda_and_containers_have_their_own(tmp_path, monkeypatch, method):
    monkeypatch.setenv("PYTHONPATH", "/one")
    *variables, program = started(tmp_path, method)
    assert program == "python" and f"PYTHONPATH={tmp_path}/envs/python" in variables


def test_how_python_is_started_makes_nothing_stale(raw):
    """Snakemake keeps the text of a param and compares it; its cache between workflows takes it as JSON."""
    one, other = (Rules(raw, f"A={number} python").python(None) for number in (1, 2))
    assert repr(one) == repr(other) == "'python'" and f"{one} -m" == "A=1 python -m"
    assert isinstance(one, Command) and one == other


def test_a_random_py_beside_the_commands_is_not_taken_for_pythons_own(tmp_path):
    """`python -m workflow_scripts doctor` in a clone, and the processes that it starts."""
    for part in ("workflow_scripts", "envs"):
        shutil.copytree(SOURCES / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "random.py").write_text("raise SystemExit('my own random.py')")
    (tmp_path / "workflow_scripts/peek.py").write_text(
        "import random, subprocess, sys\nfrom workflow_scripts.base import errors\n"
        "print(errors.__file__, flush=True)\n"
        "subprocess.run([sys.executable, '-c', 'import random, workflow_scripts.base.errors as e; print(e.__file__)'])\n"
    )
    path = {"PYTHONPATH": str(tmp_path / "envs/python")}
    for variables in (environment(), environment() | path | {"PYTHONSAFEPATH": "1"}):
        command = [sys.executable, "-m", "workflow_scripts.peek"]
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
        lines = done.stdout.splitlines()
        assert lines and set(lines) == {str(tmp_path / "workflow_scripts/base/errors.py")}, done.stderr


# --- a module of another workflow -------------------------------------------------------------------------------------

SMALL = {
    "datasets": {
        "demo": {
            "splits": {"all_train": {"images": 12}, "thresholds": {"first": 4}, "val": {"images": 4}},
            "systems": ["cam"],
            "montage": 2,
            "overrides": {
                "classifiers": {"cam": {"recipe": {"iterations": 2, "batch": 2}}},
                "cams": {"cam": {"scales": [1]}},
                "systems": {"cam": {"segmenter": None, "predictions": []}},
            },
        }
    }
}
OUTER = """
import glob

shell.prefix("set -euo pipefail; export MINE=1; ")
CLONE = glob.glob("../clone/*/")[0]


module plain:
    snakefile: f"{{CLONE}}/Snakefile"
    config: {config}


use rule * from plain


module moved:
    snakefile: f"{{CLONE}}/Snakefile"
    prefix: "moved"
    config: {config}


use rule * from moved as moved_*


rule paper_table:
    input:
        "results/demo/miou.csv",
        "moved/results/demo/index.h5",
    output:
        "rows.txt",
    shell:
        "python -m helper {{input[0]}} > {{output}}; echo $MINE ${{{{PYTHONSAFEPATH-unset}}}} >> {{output}}"


open("local.txt", "w").write(" ".join(sorted(workflow._localrules)))
"""
# What needs the internet, and what takes a second: never sent to a cluster.
LOCAL = {"all", "all_paper_tables", "archives", "boundary_table", "charts", "confusion_table", "mask_ap", "miou"}
LOCAL |= {"paper_table", "pictures", "saliency_table", "weights"}


@pytest.fixture
def outer(tmp_path) -> Path:
    """Another workflow's folder; both it and the clone have a name that is hard on a shell, and modules that are not ours."""
    clone, folder = tmp_path / "clone" / ODD, tmp_path / f"outer {ODD}"
    copy_sources(clone)
    (folder / "workflow_scripts").mkdir(parents=True)
    for path in (clone / "random.py", folder / "random.py", folder / "workflow_scripts/__init__.py"):
        path.write_text(f"raise SystemExit({str(path)!r})")
    (folder / "lib").mkdir()
    (folder / "lib/sitecustomize.py").write_text("import sys; print('seen', *sys.orig_argv, file=sys.stderr)")
    (folder / "helper.py").write_text("import sys; print(len(open(sys.argv[1]).readlines()))")
    (folder / "Snakefile").write_text(
        OUTER.format(config=SMALL).replace("from plain\n", "from plain exclude all, paper_table\n")
    )
    return folder


def snakemake(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    command = [Path(sys.executable).parent / "snakemake", *arguments]
    return subprocess.run(command, cwd=folder, env=environment() | variables, capture_output=True, text=True)


def test_as_a_module_of_another_workflow(outer):
    """Its own rules are as they were; ours are run by our stages; a prefix moves results, and local rules stay local."""
    done = snakemake(outer, "--cores", "2", "rows.txt", PYTHONPATH=str(outer / "lib"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    with open(outer / "results/demo/miou.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["system"] for row in rows} == {"cam"}
    assert (outer / "rows.txt").read_text() == f"{len(rows) + 1}\n1 unset\n"
    assert (outer / "results/demo/index.h5").read_bytes() == (outer / "moved/results/demo/index.h5").read_bytes()
    assert (
        "workflow_scripts.stages.index" in (outer / "logs/demo/index.log").read_text()
    )  # our jobs see the user's modules
    expected = [*(LOCAL - {"all", "paper_table"}), *(f"moved_{name}" for name in LOCAL)]
    assert (outer / "local.txt").read_text().split() == sorted(expected)
    again = snakemake(outer, "--cores", "2", "-n", "rows.txt")
    assert "Nothing to be done" in again.stdout + again.stderr


def test_keys_of_another_workflow_are_told_to_be_put_apart(tmp_path):
    (tmp_path / "Snakefile").write_text(
        f"module wsss:\n    snakefile: {str(SOURCES / 'Snakefile')!r}\n    config: {{'samples': ['a']}}\nuse rule * from wsss\n"
    )
    done = snakemake(tmp_path, "--cores", "1", "-n")
    said = done.stdout + done.stderr
    assert done.returncode and "unknown key 'samples'" in said and "give the module a section" in said


def test_stages_of_two_trees_are_not_mixed(tmp_path):
    (tmp_path / "workflow_scripts").mkdir()
    with pytest.raises(WorkflowError, match="use the modules of one tree"):
        runs.prepare(SimpleNamespace(basedir=str(tmp_path)), str(tmp_path))


def test_folders_that_are_links_to_another_disk_are_not_shown_by_git(tmp_path):
    git = ["git", "-C", tmp_path, "-c", "core.excludesFile=/dev/null"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    shutil.copy(SOURCES / ".gitignore", tmp_path)
    (tmp_path / ".git/info/exclude").unlink(missing_ok=True)
    for name in ("results", "data", "logs", ".venv", ".snakemake"):
        (tmp_path / name).symlink_to("/tmp")
    said = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["??", ".gitignore"]


# --- locks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def own_locks(monkeypatch):
    """Snakemake with our locks, which it is without afterwards."""
    for name in ("_write_locks", "_delete_locks", "lock"):
        monkeypatch.setattr(FilePersistence, name, getattr(FilePersistence, name))
    runs._own_locks()


def persistence(folder: Path, *outputs: str) -> FilePersistence:
    """Snakemake's memory of a folder, in a run that makes these files."""
    made = FilePersistence(path=folder / ".snakemake")
    made.all_outputfiles, made.all_inputfiles = lambda: outputs, lambda: ()
    return made


def locks(folder: Path) -> list[Path]:
    return sorted((folder / ".snakemake/locks").glob("*"))


def killed(folder: Path, change=lambda line: line) -> None:
    """Leave the locks of a run that was killed; its name changed as a run elsewhere would have it."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with persistence(folder, "a").lock():
        for path in locks(folder):
            line, rest = path.read_text().split("\n", 1)
            line = line.replace(f" {os.getpid()}@", f" {gone.pid}@")
            path.with_suffix(".kept").write_text(f"{change(line)}\n{rest}")
    for path in locks(folder):
        path.rename(path.with_suffix(".lock"))


def word(number: int, text: str):
    """Another word in a run's name."""
    return lambda line: " ".join(text if place == number else part for place, part in enumerate(line.split()))


def test_a_lock_says_whose_it_is_and_goes_with_its_run(tmp_path, own_locks):
    with persistence(tmp_path, "a").lock():
        assert [runs._owner(path) for path in locks(tmp_path)] == [runs.this_run()] * 2
        with pytest.raises(WorkflowError, match=f"process {os.getpid()} on .*; wait until it is done, .* --unlock"):
            with persistence(tmp_path, "a", "b").lock():
                pass
        with persistence(tmp_path, "b").lock():  # side by side
            assert len(locks(tmp_path)) == 4
        assert len(locks(tmp_path)) == 2  # Snakemake itself would have removed those of both
    assert locks(tmp_path) == []


def test_locks_of_a_run_that_was_killed_here_are_removed(tmp_path, own_locks, capsys):
    for change in (lambda line: line, word(2, "an-earlier-start"), word(4, "1")):
        killed(tmp_path, change)
        with persistence(tmp_path, "a").lock():
            assert len(locks(tmp_path)) == 2
        assert "was killed; its locks are removed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change",
    [
        word(1, "login2/0123"),  # another host, whose processes are not seen from here
        word(3, "1@0123"),  # another container of this machine
        lambda line: "results/a",  # of a version that wrote no name
        lambda line: "#run",
    ],
    ids=["host", "container", "unnamed", "cut"],
)
def test_locks_of_others_stay(tmp_path, own_locks, change):
    killed(tmp_path, change)
    before = [path.read_text() for path in locks(tmp_path)]
    with pytest.raises(WorkflowError, match="another run"), persistence(tmp_path, "a").lock():
        pass
    assert [path.read_text() for path in locks(tmp_path)] == before
    persistence(tmp_path).unlock()  # snakemake --unlock
    assert locks(tmp_path) == []


def test_a_process_that_got_the_number_of_a_killed_run_is_not_it(tmp_path, own_locks):
    killed(tmp_path, lambda line: word(4, "0")(word(3, stopping.this_process())(line)))
    with persistence(tmp_path, "a").lock():
        assert len(locks(tmp_path)) == 2


@pytest.mark.parametrize("options", [("--dry-run",), ("--lint",), ("--summary",)])
def test_what_only_looks_removes_no_lock(tmp_path, own_locks, options):
    folder = copy_sources(tmp_path)
    killed(folder)
    done = snakemake(folder, "--cores", "1", *options, *(() if options == ("--lint",) else (INDEX,)))
    assert len(locks(folder)) == 2
    assert done.returncode == 0 and "never awaited" not in done.stderr


def test_without_locks_of_the_file_system_none_is_removed(tmp_path, own_locks, monkeypatch):
    killed(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", fail)
    with pytest.raises(WorkflowError, match="--unlock"), persistence(tmp_path, "a").lock():
        pass


HOLD = """
import sys, time
from types import SimpleNamespace
from pathlib import Path
from snakemake.persistence.file import FilePersistence
from workflow_scripts.workflow import runs

runs._own_locks()
run = FilePersistence(path=Path(".snakemake"))
run.all_outputfiles, run.all_inputfiles = lambda: ["a"], lambda: ()
with run.lock():
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def mount(tmp_path):
    """The same folder under two paths, each with flocks of its own, as two nodes see it."""
    if not shutil.which("bindfs") or not os.access("/dev/fuse", os.W_OK):
        pytest.skip("needs bindfs and /dev/fuse")
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir(), other.mkdir()
    if subprocess.run(["bindfs", "--no-allow-other", one, other], capture_output=True).returncode:
        pytest.skip("bindfs cannot mount here")
    yield one, other
    subprocess.run(["fusermount", "-u", other], check=True)


def test_a_live_run_keeps_its_locks_on_another_mount(mount, own_locks):
    one, other = mount
    command = [sys.executable, "-c", HOLD]
    variables = environment() | {"PYTHONPATH": str(SOURCES)}
    with subprocess.Popen(command, cwd=one, env=variables, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(WorkflowError, match=f"process {holder.pid} "), persistence(other, "a").lock():
            pass
        assert len(locks(other)) == 2
        holder.kill()
    with persistence(other, "a").lock():
        assert len(locks(one)) == 2


# --- threads ----------------------------------------------------------------------------------------------------------


def test_a_job_takes_no_more_threads_than_it_is_given_cores(capsys, monkeypatch):
    import torch

    from workflow_scripts.training.device import deterministic

    before = torch.get_num_threads()
    try:
        for threads, cores, processes, taken in ((1, 2, 1, 1), (2, 2, 1, 2), (3, 2, 1, 2), (2, 2, 2, 1), (2, 1, 4, 1)):
            monkeypatch.setenv("WORLD_SIZE", str(processes))
            deterministic(0, threads, cores)
            said = capsys.readouterr().out
            assert torch.get_num_threads() == taken
            assert (f"torch_threads is {threads}" in said and f"torch_threads: {taken};" in said) == (taken < threads)
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(False)


def test_too_few_cores_are_told_once_when_a_run_begins(raw):
    for cores, threads, told in ((None, 2, 0), (2, 2, 0), (1, 2, 1), (1, 1, 0)):
        raw["datasets"]["demo"]["torch_threads"] = threads
        said: list[str] = []
        rules = Rules(raw, cores=lambda: cores, warn=said.append)  # noqa: B023
        for _ in range(2):
            assert rules.training_threads("train_classifier")(Wildcards()) == threads
        assert len(said) == told and all("datasets.demo.torch_threads is 2" in line for line in said)


class Wildcards(dict):
    dataset, seed, classifier = "demo", "0", "cam"

    def __missing__(self, name):
        return getattr(self, name)


def test_dry_runs_and_clusters_are_told_of_no_cores():
    limits = SimpleNamespace(cores=4, max_threads=2)
    here = SimpleNamespace(dryrun=False, local_exec=True, is_main_process=True, resource_settings=limits)
    assert runs.cores(here) == 2
    for change in ({"dryrun": True}, {"local_exec": False}, {"is_main_process": False}):
        assert runs.cores(SimpleNamespace(**{**vars(here), **change})) is None


def test_threads_that_wait_sleep_and_libraries_start_none(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    variables = dict(part.split("=", 1) for part in started(tmp_path)[:-1])
    assert variables["OMP_WAIT_POLICY"] == "PASSIVE"
    assert {variables[name] for name in runs.ONE_THREAD} == {"1"}
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # as the user chose
    assert "OMP_WAIT_POLICY=ACTIVE" in started(tmp_path)
