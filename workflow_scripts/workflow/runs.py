"""Runs of Snakemake: how their jobs are started, whose locks are left by a killed one, how they wait for a stage that is stopped."""

import fcntl
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from snakemake.exceptions import LockException, WorkflowError
from snakemake.persistence.file import FilePersistence
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.settings.types import DeploymentMethod
from snakemake.sourcecache import LocalSourceFile

import workflow_scripts
from workflow_scripts.base import plugins, stopping

OWNER = "#run"  # how the line of a lock begins that says whose it is; the others are paths
# Stages say themselves how many threads and processes work; none of these takes some more beside.
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
_prepared: list[str] = []


def prepare(workflow, root: str) -> str:
    """Make a run of Snakemake fit for the rules of the tree `root`; returns what a shell starts the Python of a job by.

    Raises:
        WorkflowError: another tree's stages have been loaded, as of another module.
    """
    loaded = workflow_scripts.__path__[0]
    if not os.path.samefile(loaded, os.path.join(root, "workflow_scripts")):
        raise WorkflowError(
            f"{root}: the stages of {os.path.dirname(loaded)} are loaded; use the modules of one tree in a workflow"
        )
    if not _prepared:  # and not once more for another module
        _end_aside()
        _own_locks()
        _keep_braces()
        _prepared.append(root)
    if root == workflow.basedir:  # of another workflow's jobs, that one decides
        os.environ["PYTHONSAFEPATH"] = "1"  # for Snakemake itself, where it is started again on a cluster
        workflow.register_envvars("PYTHONSAFEPATH")
    return ("" if workflow.is_main_process else _outlast_the_stage()) + python(root, workflow)


def python(root: str, workflow) -> str:
    """Python for a shell, with the variables that a job needs.

    It is the one that runs Snakemake, or that of the job's conda environment or container. Modules of the working folder are
    not in its path, the user's own PYTHONPATH is, behind this tree.
    """
    methods = workflow.deployment_settings.deployment_method if workflow.deployment_settings else ()
    provided = bool({DeploymentMethod.CONDA, DeploymentMethod.APPTAINER} & {*methods})
    path = [f"{root}/envs/python"]
    if not provided:  # an empty entry would be the working folder
        path += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    variables = {
        "PYTHONPATH": os.pathsep.join(path),
        "PYTHONSAFEPATH": "1",
        # Threads that wait for others sleep: on a busy machine they would keep these from working.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        **dict.fromkeys(ONE_THREAD, "1"),
        **({plugins.FOLDERS: os.environ[plugins.FOLDERS]} if plugins.folders() else {}),
        stopping.PARENT: stopping.this_process(),  # jobs end when this process does, however it ends
    }
    words = [f"{name}={shlex.quote(value)}" for name, value in variables.items()]
    return " ".join([*words, "python" if provided else shlex.quote(sys.executable)])


def cores(workflow) -> int | None:
    """The most that a job is given where it runs on this machine; None elsewhere, and where nothing is run."""
    if workflow.dryrun or not workflow.local_exec or not workflow.is_main_process:
        return None
    limits = workflow.resource_settings.cores, workflow.resource_settings.max_threads
    return min((limit for limit in limits if limit), default=None)


def _keep_braces() -> None:
    """Have Snakemake take braces in the path of this tree for what they are, where they name no wildcard."""
    fill = LocalSourceFile.format

    def filled(file: LocalSourceFile, /, **wildcards: object) -> LocalSourceFile:
        try:
            return fill(file, **wildcards)
        except (NameError, IndexError, ValueError):
            return file

    LocalSourceFile.format = filled


def _own_locks() -> None:
    """Have Snakemake's locks say whose they are, and remove no others but those of runs that were killed on this machine.

    Snakemake itself leaves the locks of a killed run, and removes those of all runs at the end of one. A dry run, a report and
    what else only looks takes no lock and removes none.
    """
    persistence = FilePersistence
    write, delete, lock = persistence._write_locks, persistence._delete_locks, persistence.lock

    def write_locks(self, kind: str, keys: Iterable[str]) -> None:
        write(self, kind, [this_run(), *keys])

    def delete_locks(self) -> None:
        if not self._lockfile:  # --unlock
            return delete(self)
        for path in map(Path, self._lockfile.values()):
            if _owner(path) in (this_run(), None):  # None: could not be written
                path.unlink(missing_ok=True)
        self._lockfile.clear()

    @contextmanager
    def locked(self) -> Iterator[None]:
        remove_dead(self._lockdir)
        try:
            with lock(self):
                yield
        except LockException as error:
            error.args = (_told(self._lockdir),)
            raise

    persistence._write_locks, persistence._delete_locks, persistence.lock = write_locks, delete_locks, locked


def this_run() -> str:
    """What tells this process from all of all machines: host, its start, number and namespace of the process, its start."""
    return " ".join([OWNER, *_machine(), stopping.this_process(), _start(os.getpid()) or "-"])


def _start(process: int) -> str | None:
    """When a process began, in the system's ticks; "-" where it does not say, None if there is none."""
    try:
        state, *numbers = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return "-" if stopping.exists(process) else None
    return None if state in "ZX" else numbers[18]


def _machine() -> tuple[str, str]:
    """Its name with the system's number, and what is another one after each start."""
    return f"{socket.gethostname()}/{_content('/etc/machine-id')}", _content("/proc/sys/kernel/random/boot_id")


def _content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip() or "-"
    except OSError:
        return "-"


def remove_dead(folder: str | Path) -> None:
    """Remove the locks of runs that were killed on this machine; whether one lives on another cannot be told from here."""
    folder = Path(folder)
    with open(folder.parent / "locks.lock", "w") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)  # two runs that begin at once, on this machine
        except OSError:
            return  # the file system has none: `snakemake --unlock` is needed as ever
        dead = [path for path in folder.glob("*.lock") if _is_dead(_owner(path))]
        for path in dead:
            path.unlink()
    if dead:
        print("A run in this folder was killed; its locks are removed.", file=sys.stderr)


def _owner(path: Path) -> str | None:
    """The line of a lock that says whose it is; None where there is none, as in those of another version."""
    try:
        with open(path, encoding="utf-8") as file:
            first = file.readline().rstrip("\n")
    except OSError:
        return None
    return first if first.startswith(f"{OWNER} ") else None


def _is_dead(owner: str | None) -> bool:
    try:
        _, host, boot, process, start = (owner or "").split(" ")
    except ValueError:
        return False
    if host != _machine()[0]:
        return False
    if boot != _machine()[1]:
        return True  # the machine was started again since
    number, _, namespace = process.partition("@")
    if namespace != stopping.this_process().partition("@")[2]:
        return False  # of a container, whose processes are not seen from here
    return number.isdecimal() and _start(int(number)) != start


def _told(folder: str | Path) -> str:
    """One line for a folder that cannot be locked: who has it, and what to do."""
    owners = sorted({owner for path in Path(folder).glob("*.lock") if (owner := _owner(path))})
    runs = [
        f"process {process.partition('@')[0]} on {host.partition('/')[0]}"
        for _, host, _, process, _ in map(str.split, owners)
    ]
    who = ", ".join(runs) or "a run that left no name"
    return (
        f"{Path.cwd()}: another run makes files that this one would make or read: {who}; wait until it is done, or, if it "
        "lives no more, run snakemake --unlock first"
    )


def _end_aside() -> None:
    """Make SIGTERM wait for Snakemake's scheduler in a thread of its own.

    Snakemake's handler takes a lock that the interrupted thread itself may hold, as it does while it chooses jobs: it
    would then wait for ever.
    """
    told = JobScheduler.exit_gracefully

    def exit_gracefully(scheduler: JobScheduler, *_: object) -> None:
        threading.Thread(target=told, args=(scheduler,), daemon=True).start()

    JobScheduler.exit_gracefully = exit_gracefully


def _outlast_the_stage() -> str:
    """Make this Snakemake, which a cluster has started for one job, wait for its stage; returns what makes a shell do so.

    A cluster signals all processes of a job at once: ones that do not wait take down the stage, which is saving its state.
    Signals are caught and not ignored, as the stage would inherit that. Snakemake itself waits on SIGTERM.
    """
    for number in (signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return "trap : TERM USR1 HUP; "
