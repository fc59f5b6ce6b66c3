"""Calls that are to end in one line, in bounded memory and time."""

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

from workflow_scripts.base.errors import LONGEST_LINE, UserError

ROOM = 512 << 20  # bytes beyond what the process has
SECONDS = 30  # of computing


def bounded(call: Callable[[], object], *fragments: object) -> None:
    """As `refused`, in a process that has little memory and time."""
    told, tell = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            try:
                call()
                message = "nothing was wrong"
            except UserError as error:
                message = str(error)
            except BaseException as error:
                message = f"not refused but {type(error).__name__}: {error}"
            os.write(tell, message.encode()[:60_000])
        finally:
            os._exit(0)
    os.close(tell)
    with os.fdopen(told) as pipe:
        message = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code == 0, signal.Signals(-code).name
    for fragment in fragments:
        assert str(fragment) in message, message[:2000]
    assert all(line.isprintable() and len(line) <= LONGEST_LINE for line in message.split("\n"))
