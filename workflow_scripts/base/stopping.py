"""How a job ends before its time: on a signal, or when the Snakemake that started it is gone.

Snakemake that is killed leaves its jobs behind, on a GPU or about to write over what the next run makes; so a job
watches the process that the Snakefile names in `WORKFLOW_PARENT`, and the shell that it starts jobs by. Either way
`Stopped` is raised, on which temporary files are removed and a training saves its state.
"""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator

PARENT = "WORKFLOW_PARENT"  # environment variable, as `this_process` says it
# By a user or a cluster; SIGUSR1 is what Slurm is often told to send some time before the end.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class Stopped(BaseException):
    """The job is to end now; no Exception, so that nothing on the way takes it for a fault."""


_reason: str | None = None
_depth = 0
_orphaned = False


def on_signals() -> None:
    """From now on signals raise `Stopped`, once, in this process alone; one that is ignored stays so (nohup)."""
    owner = os.getpid()

    def stop(number: int, frame) -> None:
        global _reason
        if os.getpid() != owner or _reason is not None:
            return
        _reason = "the Snakemake that started it has ended" if _orphaned else signal.Signals(number).name
        check()

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def ignore(*_: object) -> None:
    """Leave the decision to the main process: workers end with it, and signals may be sent to all of a job at once."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def check() -> None:
    """Raise `Stopped` if the job is to end and nothing is going on that must not be interrupted."""
    if _reason is not None and not _depth:
        raise Stopped(_reason)


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Within it no signal interrupts; one that came ends the job after it."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
    check()


def this_process() -> str:
    """What jobs are told of the process that starts them: its number, and the namespace in which it has that number."""
    return f"{os.getpid()}@{_namespace()}"


def watch_parents() -> None:
    """End this job by SIGTERM when the process named in the environment ends, or the shell between; without such a one, never."""
    number, _, namespace = os.environ.get(PARENT, "").partition("@")
    if number and namespace == _namespace():
        threading.Thread(target=_watch, args=({int(number), os.getppid()},), daemon=True).start()


def _watch(parents: set[int]) -> None:
    global _orphaned
    try:
        select.select([os.pidfd_open(parent) for parent in parents], [], [])
    except ProcessLookupError:  # it ended before this job began
        pass
    except (AttributeError, OSError):  # only Linux can wait for it
        while all(map(exists, parents)):
            time.sleep(1)
    _orphaned = True
    os.kill(os.getpid(), signal.SIGTERM)


def exists(process: int) -> bool:
    """Whether a process of that number is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _namespace() -> str:
    """Containers number processes anew."""
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return ""
