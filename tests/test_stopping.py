"""Jobs that end before their time: what stops them, what they leave, and that nothing outlives what started it."""

import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil
import pytest
from snakemake.scheduling.job_scheduler import JobScheduler

from tests.tools.kills import Kill, digests, disturb, durations, prepare
from workflow_scripts.base import stopping
from workflow_scripts.store.artifacts import replaced
from workflow_scripts.workflow import runs

STARTED = "import os, subprocess, sys, time; os.environ['WORKFLOW_PARENT'] = {parent}; subprocess.Popen(sys.argv[1:]); time.sleep(60)"
JOB = """
import sys, time
from pathlib import Path
from workflow_scripts.base import stopping
from workflow_scripts.store.artifacts import replaced

stopping.on_signals()
stopping.watch_parents()
try:
    with replaced(sys.argv[1]) as temporary:
        temporary.write_text("half")
        with stopping.postponed():
            Path(sys.argv[2]).write_text("begun")
            time.sleep(0.5)
            Path(sys.argv[2]).write_text("a step is done")
        time.sleep(60)
except stopping.Stopped as stop:
    Path(sys.argv[2]).write_text(Path(sys.argv[2]).read_text() + f", {stop}")
"""
POOL = """
import time
from workflow_scripts.run.parallel import ordered_map

def state(): pass
def slow(state, item): time.sleep(60)

if __name__ == "__main__":
    list(ordered_map(state, slow, range(9), 2))
"""


WRITES = """
import os, signal, sys
import numpy as np
from workflow_scripts.store import artifacts
from workflow_scripts.base import stopping

name, moment = sys.argv[2], int(sys.argv[3])
call, calls = getattr(artifacts.Disk, name), 0

def struck(self, *arguments):
    global calls
    calls += 1
    if calls == moment:
        os.kill(os.getpid(), signal.SIGTERM)
    return call(self, *arguments)

setattr(artifacts.Disk, name, struck)
stopping.on_signals()
try:
    with artifacts.create(sys.argv[1], "mask", dataset="demo", split="train", classes=["cat"]) as artifact:
        for number in range(130):  # it is opened anew on the way
            artifact.put(str(number), label=np.full((60, 60), number, np.uint8))
    print("was not stopped")
except stopping.Stopped as stop:
    print(stop)
"""
STANDING = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
import torch
from workflow_scripts.run import command
from workflow_scripts.training.feed import batches

class Samples(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, key):
        if key[1] == 5:
            time.sleep(30)
            Path(sys.argv[-1]).touch()
        return {"image": torch.zeros(3, 8, 8)}

def main(job):
    with batches(Samples(), SimpleNamespace(batch=2, iterations=30), 0, torch.device("cpu"), workers=2) as loaded:
        for _ in loaded:
            raise KeyError("a fault")

command.run(main, outputs=("weights",))
"""


def until(condition, seconds: float = 20) -> bool:
    """Wait for it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition():
        time.sleep(0.02)
    return condition()


def heeded() -> None:
    """Tests that run in the background may have been told to ignore signals."""
    for number in stopping.SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def start(*arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, *map(str, arguments)], preexec_fn=heeded, **options)


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_signal_ends_a_job_after_its_step_and_leaves_nothing_half_written(tmp_path, number):
    process = start("-c", JOB, tmp_path / "artifact", tmp_path / "said")
    assert until((tmp_path / "said").exists)
    process.send_signal(number)
    assert process.wait(20) == 0
    assert (tmp_path / "said").read_text() == f"a step is done, {number.name}"
    assert [path.name for path in tmp_path.iterdir()] == ["said"]


def test_a_job_ends_with_the_snakemake_that_started_it(tmp_path):
    """With it, or with the shell between; a job that somebody starts by hand outlives both."""
    named = {"by Snakemake": f"{stopping.this_process()!r}", "by hand": "''"}
    for name, parent in named.items():
        job = [sys.executable, "-c", JOB, str(tmp_path / name), str(tmp_path / f"{name}.said")]
        shell = start("-c", STARTED.format(parent=parent), *job)
        assert until((tmp_path / f"{name}.said").exists)
        (process,) = psutil.Process(shell.pid).children()
        shell.kill()
        shell.wait()
        if name == "by hand":
            time.sleep(1)
            assert process.is_running()
            process.kill()
        else:
            assert until(lambda process=process: not process.is_running())
            assert "the Snakemake that started it has ended" in (tmp_path / f"{name}.said").read_text()


def test_workers_end_with_a_killed_job(tmp_path):
    (tmp_path / "pool.py").write_text(POOL)
    process = start(tmp_path / "pool.py", env=os.environ | {"PYTHONPATH": "."})
    owner = psutil.Process(process.pid)
    assert until(lambda: sum("spawn_main" in " ".join(child.cmdline()) for child in owner.children()) == 2)
    time.sleep(1)  # they begin to work
    workers = owner.children(recursive=True)
    process.kill()
    process.wait()
    assert psutil.wait_procs(workers, timeout=10)[1] == []


def test_a_job_that_fails_does_not_wait_for_a_loading_process_that_stands_still(tmp_path):
    """Python itself would, as they ignore the signal by which it ends them."""
    (tmp_path / "stage.py").write_text(STANDING)
    arguments = ["--settings", "{}", "--code", "0", "--weights-to", str(tmp_path / "waited")]
    command = [sys.executable, tmp_path / "stage.py", *arguments]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": "."}, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.endswith("KeyError: 'a fault'\n"), done.stderr
    assert not (tmp_path / "waited").exists()


@pytest.mark.parametrize(
    ("call", "moment"), [("write", 1), ("write", 60), ("write", 200), ("readinto", 1), ("truncate", 1)]
)
def test_a_signal_while_hdf5_writes(tmp_path, call, moment):
    """HDF5 crashes where a call of it ends by an exception."""
    command = [sys.executable, "-c", WRITES, tmp_path / "a.h5", call, str(moment)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "SIGTERM\n"), done.stderr
    assert not list(tmp_path.iterdir())


def test_what_killed_jobs_left_is_removed(tmp_path):
    names = (".a.h5.123.tmp", ".a.h5.json.9.tmp", ".a.h5.x.tmp", "a.h5.4.tmp")
    for name in names:
        (tmp_path / name).touch()
    with replaced(tmp_path / "a.h5") as temporary:
        temporary.write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"a.h5", *names[1:]}


def test_a_signal_while_snakemake_chooses_jobs(monkeypatch):
    """Its own handler would wait for the lock that the thread holds which it interrupted."""
    monkeypatch.setattr(JobScheduler, "exit_gracefully", JobScheduler.exit_gracefully)  # as it was, afterwards
    runs._end_aside()
    scheduler = SimpleNamespace(_lock=threading.Lock(), _user_kill=None, _open_jobs=threading.Semaphore(0))
    with scheduler._lock:
        JobScheduler.exit_gracefully(scheduler, signal.SIGTERM, None)
        assert scheduler._user_kill is None
    assert scheduler._open_jobs.acquire(timeout=60) and scheduler._user_kill == "graceful"


KILLS = [
    Kill("train_classifier", "stage", signal.SIGTERM, 0.7),
    Kill("train_classifier", "snakemake", signal.SIGKILL, 0.8),
    Kill("cams", "stage", signal.SIGKILL, 0.5),
]


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_bytes(tree, tmp_path):
    """The short form of tests/tools/kills.py, which kills every stage."""
    command = prepare(tmp_path, ["results/demo/seed-0/cams/cam.h5"])
    done, faults = disturb(tmp_path, command, KILLS, durations(tree))
    assert (done, faults) == (KILLS, [])
    expected = digests(tree)
    found = digests(tmp_path)
    assert found == {path: expected.get(path) for path in found} and len(found) == 7  # of four jobs
    assert not list(tmp_path.glob(".snakemake/locks/*"))
