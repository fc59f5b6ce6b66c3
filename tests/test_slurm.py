"""The shipped profiles on a real Slurm of one node with two pretend GPUs: jobs that wait, run side by side, are ended and go on."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import own_slurm
import psutil
import pytest
from conftest import SMALL, copy_sources, copy_tree, dry_run, environment, run

CAM, BANA = (f"results/demo/seed-0/classifiers/{name}.safetensors" for name in ("cam", "bana"))
CONFIGFILES = [*SMALL, "gpu.yaml"]
pytestmark = pytest.mark.skipif(own_slurm.missing() is not None, reason=str(own_slurm.missing()))

# Python runs this in every job, as the tree is on its path: a training notes which GPUs it has, and stands still when it has
# saved a state for the first time.
SPY = """
import atexit, json, os, signal, sys

if "workflow_scripts.stages.train_classifier" in sys.orig_argv:
    weights = sys.orig_argv[sys.orig_argv.index("--weights-to") + 1]
    replace = os.replace

    def note(event):
        about = {"weights": weights, "event": event, "process": os.getpid(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}
        with open("events", "a") as file:
            file.write(json.dumps(about) + "\\n")

    def pause(source, target, **options):
        replace(source, target, **options)
        if str(target) == weights + ".state":
            os.replace = replace
            note("saved")
            os.kill(os.getpid(), signal.SIGSTOP)

    note("begins")
    atexit.register(note, "ends")
    if not os.path.exists(weights + ".state"):
        os.replace = pause
"""


@pytest.fixture(scope="module")
def cluster():
    with own_slurm.cluster() as started:
        yield started


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    """Two trainings of a data set with a GPU, undisturbed on this machine."""
    folder = copy_sources(tmp_path_factory.mktemp("local"))
    (folder / "gpu.yaml").write_text("datasets: {demo: {gpus: 1}}")
    done = run(folder, CAM, BANA, configfiles=CONFIGFILES, options=["--resources", "gpu=2"])
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return folder


def to_train(local: Path, folder: Path) -> Path:
    """A copy in which the trainings are still to be done, and spied upon."""
    copy_tree(local, folder)
    for path in [*(folder / "results/demo/seed-0/classifiers").iterdir(), *(folder / "logs").rglob("train_*/*")]:
        path.unlink()
    (folder / "spy").mkdir()
    (folder / "spy/sitecustomize.py").write_text(SPY)
    return folder


def submit(cluster, folder: Path, *arguments: str) -> subprocess.Popen:
    """Snakemake that submits jobs; what it says goes to `said`."""
    command = [sys.executable, "-m", "snakemake", *arguments, "--configfile", *CONFIGFILES, "--", CAM, BANA]
    variables = environment()
    variables |= cluster.variables | {"PATH": f"{cluster.folder / 'bin'}:{variables['PATH']}"}
    variables |= {"PYTHONPATH": str(folder / "spy")}
    with open(folder / "said", "w") as said:
        return subprocess.Popen(command, cwd=folder, env=variables, stdout=said, stderr=said)


def events(folder: Path, event: str) -> dict[str, list[dict]]:
    """What the trainings noted of a kind, by their weights."""
    path = folder / "events"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    found: dict[str, list] = {}
    for line in lines:
        if line["event"] == event:
            found.setdefault(line["weights"], []).append(line)
    return found


def until(condition, process: subprocess.Popen, folder: Path, patience: float = 240) -> None:
    end = time.monotonic() + patience
    while not condition():
        said = (folder / "said").read_text()[-6000:]
        assert process.poll() is None, f"Snakemake ended before: {said}"
        assert time.monotonic() < end, said
        time.sleep(0.1)


def stopped(folder: Path, weights: str) -> psutil.Process | None:
    """The training, if it has saved a state and stands still."""
    for note in events(folder, "saved").get(weights, []):
        process = psutil.Process(note["process"])
        if process.status() == psutil.STATUS_STOPPED:
            return process
    return None


def waits_for(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a signal has come that the process, standing still, has not dealt with."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return any(int(line.split()[1], 16) >> (number - 1) & 1 for line in lines if line.startswith(("SigPnd", "ShdPnd")))


def digests(folder: Path) -> dict[str, bytes]:
    paths = [path for path in (folder / "results").rglob("*") if path.is_file() and path.suffix != ".json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def ended(process: subprocess.Popen, folder: Path) -> str:
    """What Snakemake has said when it is done."""
    process.wait(240)
    return (folder / "said").read_text()


@pytest.fixture(scope="module")
def disturbed(cluster, local, tmp_path_factory) -> SimpleNamespace:
    """One run by profiles/slurm: submitted to a drained node; then one training is cancelled, the other warned of its end."""
    folder = to_train(local, tmp_path_factory.mktemp("slurm") / "tree")
    options = ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "12"]
    cluster.node("drain")
    snakemake = submit(cluster, folder, "--workflow-profile", "profiles/slurm", *options)
    seen = SimpleNamespace(folder=folder)
    try:
        until(lambda: len(cluster.jobs()) == 2, snakemake, folder)
        time.sleep(1)
        seen.while_drained = cluster.jobs(), events(folder, "begins")
        cluster.node("resume")
        until(lambda: stopped(folder, CAM) and stopped(folder, BANA), snakemake, folder)
        seen.side_by_side = cluster.jobs()
        numbers = {comment.rpartition("_")[2]: number for number, (_, comment) in seen.side_by_side.items()}
        # The warning before the time limit: to all processes of the job, of which the training is slow to end.
        bana = stopped(folder, BANA)
        above = [parent for parent in bana.parents() if parent.name() in ("bash", "python3", "python")]
        cluster.ask("scancel", "--signal=USR1", numbers["bana"])
        until(lambda: waits_for(bana, signal.SIGUSR1), snakemake, folder)
        time.sleep(1)
        seen.waiting_for_the_training = above, [parent.is_running() for parent in above], cluster.jobs()
        bana.send_signal(signal.SIGCONT)
        cluster.ask("scancel", numbers["cam"])
        seen.said = ended(snakemake, folder)
        seen.returncode = snakemake.returncode
    finally:
        if snakemake.poll() is None:
            snakemake.kill()
            snakemake.wait()
    return seen


def test_jobs_wait_in_the_queue_while_the_node_is_drained(disturbed):
    jobs, begun = disturbed.while_drained
    assert sorted(jobs.values()) == [
        ("PENDING", f"rule_train_classifier_wildcards_demo_0_{n}") for n in ("bana", "cam")
    ]
    assert begun == {}


def test_jobs_run_side_by_side_each_on_the_gpu_that_slurm_gave_it(disturbed):
    assert [state for state, _ in disturbed.side_by_side.values()] == ["RUNNING", "RUNNING"]
    begun, over = events(disturbed.folder, "begins"), events(disturbed.folder, "ends")
    assert {begun[CAM][0]["gpu"], begun[BANA][0]["gpu"]} == {"0", "1"}
    gpus = {note["process"]: note["gpu"] for notes in begun.values() for note in notes}
    assert {
        note["process"]: note["gpu"] for notes in over.values() for note in notes
    } == gpus  # the lease left them alone


def test_snakemake_and_the_shell_wait_for_a_training_that_is_warned(disturbed):
    above, running, jobs = disturbed.waiting_for_the_training
    assert len(above) >= 2 and all(running)
    assert ("RUNNING", "rule_train_classifier_wildcards_demo_0_bana") in jobs.values()


def test_trainings_that_were_ended_go_on_by_themselves_and_give_the_bytes_of_an_undisturbed_run(disturbed, local):
    assert disturbed.returncode == 0, disturbed.said[-6000:]
    stops = re.findall(r"stopped: (\w+); [2-5] of 6 iterations are saved", disturbed.said)
    assert sorted(stops) == ["SIGTERM", "SIGUSR1"]
    for name in ("cam", "bana"):
        log = disturbed.folder / f"logs/demo/seed-0/train_classifier/{name}.log"
        assert re.match(r"resumed at iteration [2-5]\n", log.read_text())
    assert digests(disturbed.folder) == digests(local)


def test_a_run_on_the_cluster_leaves_nothing_to_do_on_this_machine(disturbed, cluster):
    assert cluster.jobs() == {}
    assert dry_run(disturbed.folder, CAM, BANA, configfiles=CONFIGFILES) == []


def test_the_generic_profile_submits_asks_and_hands_on_the_warning(cluster, local, tmp_path):
    """The warning before the time limit goes to the batch script alone here."""
    folder = to_train(local, tmp_path / "tree")
    snakemake = submit(cluster, folder, "--workflow-profile", "profiles/generic", "--retries", "0")
    try:
        until(lambda: stopped(folder, CAM) and stopped(folder, BANA), snakemake, folder)
        jobs = cluster.ask("squeue", "--noheader", "--format=%i %b %j").split("\n")[:-1]
        assert [shlex.split(job)[1:] for job in jobs] == [["gres:gpu:1", "train_classifier"]] * 2
        stages = [stopped(folder, name) for name in (CAM, BANA)]
        for job in jobs:
            cluster.ask("scancel", "--batch", "--signal=TERM", job.split()[0])
        until(lambda: all(waits_for(stage, signal.SIGTERM) for stage in stages), snakemake, folder)
        for stage in stages:
            stage.send_signal(signal.SIGCONT)
        said = ended(snakemake, folder)
    finally:
        if snakemake.poll() is None:
            snakemake.kill()
            snakemake.wait()
    stops = re.findall(r"stopped: (\w+); [2-5] of 6 iterations are saved", said)
    assert (snakemake.returncode, stops) == (1, ["SIGTERM"] * 4), said[-6000:]  # in each log as it failed, and last
    assert {note["gpu"] for notes in events(folder, "begins").values() for note in notes} == {"0", "1"}
    for weights in (CAM, BANA):
        assert os.path.exists(folder / f"{weights}.state")
