"""What tests share: the small demo, run once by Snakemake, and ways to run and question a copy of it; settings; a training set."""

import contextlib
import copy
import faulthandler
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest
import yaml

from workflow_scripts.base import stopping
from workflow_scripts.base.errors import UserError
from workflow_scripts.config.layers import read_settings

SOURCES = Path(__file__).resolve().parent.parent
PARTS = (
    "Snakefile",
    "config.yaml",
    "configs",
    "envs",
    "library",
    "profiles",
    "report",
    "rules",
    "workflow_scripts",
    "tests/small.yaml",
)
SMALL = ("config.yaml", "tests/small.yaml")
TARGETS = ("results/demo/miou.csv", "results/demo/pictures/done.txt")
PATIENCE = 600  # seconds of a command; the small demo takes one or two minutes where the machine is busy

# Where Slurm is installed, Snakemake asks it when it starts; a controller that does not answer would cost seconds each time.
os.environ["SLURM_CONF"] = os.devnull

HUNG = 1200  # seconds of a test, beyond the limit in pyproject.toml: not even that could end it

# Snakemake's own command line, with every job that it would run printed as rule and wildcards.
DRY_RUN = """
import json, sys
from snakemake.cli import main
from snakemake.logging import logger

def tell(record):
    if hasattr(record, "rule_name") and hasattr(record, "wildcards"):
        print("JOB", json.dumps([record.rule_name, dict(record.wildcards)]), flush=True)
    return True

logger.addFilter(tell)
main(sys.argv[1:])
"""


def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(ToldAtOnce(config), "told_at_once")


class ToldAtOnce:
    """Names a test when it fails: a run that is ended from outside prints no summary."""

    def __init__(self, config):
        self.config = config

    def pytest_runtest_logreport(self, report):
        if report.failed:
            told = self.config.pluginmanager.get_plugin("terminalreporter")
            told.write_line(f"\n{report.nodeid} failed: {str(report.longrepr)[-300:]}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """End this process where a test cannot be ended otherwise, as one that waits in a clean-up; pytest-xdist then names the test."""
    faulthandler.dump_traceback_later(HUNG, exit=True)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def environment() -> dict[str, str]:
    """As in a shell with the virtual environment active; the tree in question is the only one on Python's path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"PATH": path}


def python(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess:
    """Run `python arguments` in a folder, output as text; what hangs is ended, and fails with where each process stood."""
    command = [sys.executable, *map(str, arguments)]
    variables = environment() | {"PYTHONFAULTHANDLER": "1"}
    with subprocess.Popen(command, cwd=folder, env=variables, stdout=PIPE, stderr=PIPE, text=True) as process:
        try:
            output, error = process.communicate(timeout=PATIENCE)
        except BaseException as fault:
            stood = end(process, folder)
            if not isinstance(fault, subprocess.TimeoutExpired):
                raise
            raise AssertionError(
                f"{' '.join(command)} hung:\n{stood}\n{process.communicate(timeout=60)[1][-9000:]}"
            ) from None
    return subprocess.CompletedProcess(command, process.returncode, output, error)


def end(process: subprocess.Popen, folder: Path) -> str:
    """End a process and all that it has started in a test's own folder; their command lines, and what logs say of where they stood."""
    told, found, start, family = "", [], time.time() - 1, [process.pid]
    with contextlib.suppress(psutil.Error):
        family += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.pid in family or (
                folder.resolve() not in (SOURCES, Path.cwd()) and Path(one.cwd()) == folder.resolve()
            ):
                told += f"{one.pid} {one.status()}: {' '.join(one.cmdline())[:300]}\n"
                one.send_signal(signal.SIGABRT)  # Python then writes its stack to standard error
                found.append(one)
    time.sleep(2)
    for one in found:
        with contextlib.suppress(psutil.Error):
            one.kill()
    logs = [path for path in folder.glob("logs/**/*.log") if path.stat().st_mtime >= start]
    return told + "".join(f"{path}:\n{path.read_text(errors='replace')[-4000:]}\n" for path in logs)


def overlays(configfiles: Iterable[str | Path]) -> list[str | Path]:
    """Snakemake's option for all but config.yaml, which the Snakefile names."""
    others = [path for path in configfiles if path != "config.yaml"]
    return ["--configfile", *others] if others else []


def run(
    folder: Path, *targets: str, configfiles: Iterable[str | Path] = SMALL, cores: int = 2, options: Iterable[str] = ()
) -> subprocess.CompletedProcess:
    """Run Snakemake in a folder; the caller looks at `returncode`."""
    arguments = ["-m", "snakemake", "--cores", cores, *options, *overlays(configfiles), "--", *targets]
    return python(folder, *map(str, arguments))


def dry_run(
    folder: Path, *targets: str, configfiles: Iterable[str | Path] = SMALL, options: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """Jobs that Snakemake would run: (rule, values of its wildcards but the data set, joined by '/'), sorted.

    So ("cams", "0/eps") is the cam `eps` of seed 0. Without targets, those of the small demo.
    """
    arguments = ["--dry-run", "--cores", "1", *options, *overlays(configfiles), "--", *(targets or TARGETS)]
    done = python(folder, "-c", DRY_RUN, *arguments)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    lines = [line.removeprefix("JOB ") for line in done.stdout.splitlines() if line.startswith("JOB ")]
    jobs = [
        (rule, "/".join(v for k, v in wildcards.items() if k != "dataset"))
        for rule, wildcards in map(json.loads, lines)
    ]
    assert len(set(jobs)) == len(jobs)
    return sorted(jobs)


def copy_sources(folder: Path) -> Path:
    """Copy what the workflow consists of, without results."""
    for part in PARTS:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        if (SOURCES / part).is_dir():
            shutil.copytree(SOURCES / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(SOURCES / part, folder / part)
    return folder


def copy_tree(tree: Path, folder: Path) -> Path:
    """Copy a whole tree with times, results and Snakemake's memory."""
    return Path(shutil.copytree(tree, folder, symlinks=True))


def refused(call: Callable[[], object], *fragments: object) -> str:
    """The call ends with an error of the user's, in one line that holds these fragments."""
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert str(fragment) in message
    return message


def put(raw: dict, dotted: str, value) -> dict:
    """Set the value at 'classifiers.cam.recipe.batch'."""
    *path, last = dotted.split(".")
    inside = raw
    for key in path:
        inside = inside.setdefault(key, {})
    inside[last] = value
    return raw


@pytest.fixture(scope="session")
def tree(tmp_path_factory, request) -> Path:
    """Sources with the results of the small demo, not to be written to; made once, whatever the number of workers."""
    shared = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # under xdist, the folder above is common to all workers
        shared = shared.parent
    folder, finished = shared / "tree", shared / "tree-finished"
    with open(shared / "tree-lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            assert not folder.exists(), "the small demo failed before, in this session; see there"
            done = run(copy_sources(folder), *TARGETS)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
            finished.touch()
    return folder


@pytest.fixture
def clone(tree, tmp_path) -> Path:
    """A copy of `tree` of the test's own, to change."""
    return copy_tree(tree, tmp_path / "clone")


@pytest.fixture
def overlay(tmp_path):
    """Write changed settings to a file of their own."""

    def write(change: dict) -> Path:
        path = tmp_path / "change.yaml"
        path.write_text(yaml.safe_dump(json.loads(json.dumps(change))))
        return path

    return write


@pytest.fixture(autouse=True)
def signals():
    """Stages that run in the process of the tests leave signals ignored, which whatever it starts would inherit."""
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def shipped() -> dict:
    """The library and config.yaml as plain values, which know no file that they are from."""
    return json.loads(json.dumps(read_settings()))


@pytest.fixture
def raw(shipped) -> dict:
    """Those, to change."""
    return copy.deepcopy(shipped)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory) -> Path:
    """Folder with ten rendered images, their index, and their masks and saliency as a perfect detector would have it."""
    from training_set import write_training_set  # imports torch, which most tests do without

    folder = tmp_path_factory.mktemp("rendered")
    write_training_set(folder)
    return folder
