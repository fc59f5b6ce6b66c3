"""GPUs are lent by locks; the machine's are made up by an nvidia-smi of the test's own."""

import os
import subprocess
import sys

import pytest
from conftest import refused

from workflow_scripts.run import gpus

TAKE = """
import os, sys, time
from workflow_scripts.run import gpus
from workflow_scripts.base.errors import UserError
try:
    count = gpus.take(int(sys.argv[1]))
    print("has", count, os.environ.get("CUDA_VISIBLE_DEVICES"), flush=True)
    time.sleep(float(sys.argv[2]))
except UserError as error:
    print(error)
"""


@pytest.fixture
def start(tmp_path):
    """Start a job that takes so many GPUs of a machine that has three; it keeps them for a minute."""
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.parent.mkdir()
    smi.write_text("#!/bin/sh\nfor n in 0 1 2; do echo $n, GPU-$n; done\n")
    smi.chmod(0o755)
    started = []

    def start(count: int, keep: float = 60, machine: bool = True, **variables: str) -> subprocess.Popen:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "SLURM_"))}
        path = f"{smi.parent}:{kept['PATH']}" if machine else "/nowhere"
        environment = kept | {"PATH": path, "TMPDIR": str(tmp_path), "PYTHONPATH": "."} | variables
        command = [sys.executable, "-c", TAKE, str(count), str(keep)]
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen) -> str:
    """The line that tells what it has."""
    lines = iter(process.stdout.readline, "")
    return next(line.strip() for line in lines if line.startswith(("has", "config", "waiting")))


def test_jobs_have_gpus_of_their_own_and_the_next_one_waits(start, tmp_path):
    one, two = start(1), start(2)
    found = [said(one), said(two)]
    assert [text.split()[1] for text in found] == ["1", "2"]
    assert sorted(",".join(text.split()[2] for text in found).split(",")) == ["GPU-0", "GPU-1", "GPU-2"]
    third = start(1)
    assert said(third) == "waiting for 1 of 3 GPUs, which other jobs have"
    one.kill()  # the kernel frees what it had
    assert said(third) == f"has 1 {found[0].split()[2]}"


@pytest.mark.parametrize(
    ("count", "variables", "expected"),
    [
        (1, {"CUDA_VISIBLE_DEVICES": "2"}, "has 1 2"),
        (2, {"CUDA_VISIBLE_DEVICES": "GPU-7,MIG-3"}, "has 2 GPU-7,MIG-3"),
        (1, {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_JOB_ID": "5"}, "has 1 0,1"),
        (1, {"SLURM_JOB_ID": "5"}, "has 1 None"),
        (1, {"CUDA_VISIBLE_DEVICES": ""}, "has 0"),
        (0, {"CUDA_VISIBLE_DEVICES": "0"}, "has 0"),
    ],
)
def test_what_was_chosen_is_kept(start, count, variables, expected):
    assert said(start(count, 0, **variables)) == expected


def test_a_job_takes_one_of_several_that_were_chosen(start):
    """Chosen by number or by UUID, a GPU has one lock."""
    first = start(1, CUDA_VISIBLE_DEVICES="2,1")
    assert said(first) == "has 1 2"
    assert said(start(1, 0, CUDA_VISIBLE_DEVICES="GPU-2,GPU-1")) == "has 1 GPU-1"


def test_too_few_gpus_or_none(start):
    assert said(start(4, 0)) == "config: gpus: a job asks for 4 GPUs, this machine has 3; lower the data set's gpus"
    message = "config: gpus: a job asks for 2 GPUs, CUDA_VISIBLE_DEVICES names 1; lower the data set's gpus"
    assert said(start(2, 0, CUDA_VISIBLE_DEVICES="1")) == message
    assert said(start(2, 0, machine=False)) == "has 0 None"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_driver_that_hangs(tmp_path, monkeypatch):
    """What waits for it cannot be killed."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\nexec sleep 60\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(gpus, "PATIENCE", 0.2)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda asked: hung.append(asked))
    hung: list[subprocess.Popen] = []
    refused(lambda: gpus.take(1), "nvidia-smi: does not answer", "driver")
    monkeypatch.undo()
    assert hung[0].poll() is None
    hung[0].kill()
    hung[0].communicate()
