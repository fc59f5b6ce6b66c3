"""A Slurm cluster of the tests' own on this machine: one node, two pretend GPUs, no accounting; its files in one folder.

Needs Slurm and munge (Debian: slurm-wlm, munge), no root and no running service: the daemons are the tests' own, under
whoever runs the tests, and are found through `SLURM_CONF` alone.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
SYSTEM = "/usr/sbin"  # where Debian has the daemons, which is not on everybody's path
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
InactiveLimit=0
KillWait=20
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """The running cluster: what clients need in their environment, and questions to it."""

    def __init__(self, folder: Path, host: str):
        self.folder, self.host = folder, host
        configuration = str(folder / "slurm.conf")
        self.variables = {"SLURM_CONF": configuration, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
        # Snakemake's plugin removes the variable for what it starts by srun.
        srun = folder / "bin/srun"
        srun.parent.mkdir()
        srun.write_text(f'#!/bin/sh\nSLURM_CONF="{configuration}" exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)

    def ask(self, *command: str) -> str:
        """What a client of Slurm prints."""
        environment = os.environ | self.variables
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{command}: {done.stderr}\n{self.logs()}"
        return done.stdout

    def jobs(self) -> dict[str, tuple[str, str]]:
        """State and comment, which holds rule and wildcards, of the jobs that are not over yet, by number."""
        lines = self.ask("squeue", "--noheader", "--format=%i|%T|%k").splitlines()
        return {number: (state, comment) for number, state, comment in (line.split("|") for line in lines)}

    def node(self, state: str) -> None:
        """Drain it, or let it take jobs again (RESUME)."""
        self.ask("scontrol", "update", f"nodename={self.host}", f"state={state}", "reason=test")

    def logs(self) -> str:
        """The ends of the daemons' logs."""
        return "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))


def missing() -> str | None:
    """What keeps this machine from running a cluster, or None."""
    path = f"{os.environ['PATH']}:{SYSTEM}"
    if absent := [name for name in PROGRAMS if shutil.which(name, path=path) is None]:
        return f"Slurm is not installed (Debian: slurm-wlm, munge): no {', '.join(absent)}"
    return None


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Start one; after use end its jobs and daemons, and no others, and remove its files."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        with _started(Path(folder)) as started:
            yield started


@contextmanager
def _started(folder: Path) -> Iterator[Cluster]:
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    controller, node = free_ports(2)
    values = {"host": host, "folder": folder, "user": getpass.getuser(), "controller": controller, "node": node}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**values))
    gpus = "".join(f"NodeName={host} Name=gpu File={device}\n" for device in ("/dev/null", "/dev/zero"))
    (folder / "gres.conf").write_text(gpus)
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
    started = Cluster(folder, host)
    daemons: list[subprocess.Popen] = []

    def start(name: str, *options: str) -> None:
        environment = os.environ | started.variables | {"PATH": f"{os.environ['PATH']}:{SYSTEM}"}
        with open(folder / f"{name}.out.log", "wb") as log:
            daemons.append(subprocess.Popen([name, *options], env=environment, stdout=log, stderr=log, cwd=folder))

    try:
        start(
            "munged",
            "--foreground",
            "--force",  # though others cannot reach its socket, nor need to
            f"--socket={folder}/munge.socket",
            f"--key-file={folder}/munge.key",
            f"--log-file={folder}/munged.log",
            f"--pid-file={folder}/munged.pid",
            f"--seed-file={folder}/munged.seed",
        )
        until((folder / "munge.socket").exists, started, daemons)
        start("slurmctld", "-D")
        start("slurmd", "-D", "-N", host)
        until(lambda: "idle" in state(started), started, daemons)
        yield started
        started.ask("scancel", "--user", getpass.getuser())
        until(lambda: not started.jobs(), started, daemons)
    finally:
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def state(started: Cluster) -> str:
    """Of the node; empty where the controller does not answer yet."""
    environment = os.environ | started.variables
    return subprocess.run(["sinfo", "--noheader", "-o", "%t"], env=environment, capture_output=True, text=True).stdout


def until(condition, started: Cluster, daemons: list[subprocess.Popen], patience: float = 60) -> None:
    end = time.monotonic() + patience
    while not condition():
        alive = all(daemon.poll() is None for daemon in daemons)
        assert alive and time.monotonic() < end, started.logs()
        time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
