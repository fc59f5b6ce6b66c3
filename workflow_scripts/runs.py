"""Runs of Snakemake: which live in a folder, whose locks were left by a killed one, and how they wait for a stage that is stopped."""

import fcntl
import signal
import sys
import threading
from pathlib import Path
from typing import IO

from snakemake.scheduling.job_scheduler import JobScheduler

_kept: list[IO] = []  # open as long as this process lives; the kernel closes them however it ends


def enter(folder: str | Path = ".snakemake") -> None:
    """Tell later runs that this one lives, and remove Snakemake's locks if no other does.

    A lock of the file system (flock) is held until the process ends. Where the file system has none, nothing is done
    and `snakemake --unlock` is needed as ever.

    Args:
        folder: of Snakemake, in the working folder.
    """
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    file = open(folder / "alive.lock", "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass  # somebody else lives, whose locks stay
    except OSError:
        file.close()
        return
    else:
        left = list((folder / "locks").glob("*.lock"))
        for path in left:
            path.unlink()
        if left:
            print("A run in this folder was killed; its locks are removed.", file=sys.stderr)
    fcntl.flock(file, fcntl.LOCK_SH)
    _kept.append(file)


def end_aside() -> None:
    """Make SIGTERM wait for Snakemake's scheduler in a thread of its own.

    Snakemake's handler takes a lock that the interrupted thread itself may hold, as it does while it chooses jobs: it
    would then wait for ever.
    """
    told = JobScheduler.exit_gracefully

    def exit_gracefully(scheduler: JobScheduler, *_: object) -> None:
        threading.Thread(target=told, args=(scheduler,), daemon=True).start()

    JobScheduler.exit_gracefully = exit_gracefully


def outlast_the_stage() -> str:
    """Make this Snakemake, which a cluster has started for one job, wait for its stage; returns what makes a shell do so.

    A cluster signals all processes of a job at once: ones that do not wait take down the stage, which is saving its state.
    Signals are caught and not ignored, as the stage would inherit that. Snakemake itself waits on SIGTERM.
    """
    for number in (signal.SIGUSR1, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return "trap : TERM USR1 HUP; "
