"""GPUs of one machine, lent to jobs by file locks: Snakemake counts them and names none.

A lock is held until its process ends, however it ends. What a user or a cluster chose is kept: a job takes as many as it
asks for of the GPUs in `CUDA_VISIBLE_DEVICES`, and under Slurm just these.
"""

import fcntl
import os
import subprocess
import tempfile
import time
from pathlib import Path

from workflow_scripts.base.errors import UserError

VARIABLE = "CUDA_VISIBLE_DEVICES"
PATIENCE = 60  # seconds that the driver may take to wake up
_held: list[int] = []


def take(count: int) -> int:
    """Make as many GPUs visible as a job asks for, waiting until they are free; returns how many it has.

    None are visible to a job that asks for none; a machine without GPUs gives none.

    Raises:
        UserError: fewer than asked for, but some; or their driver hangs.
    """
    if count == 0:
        os.environ[VARIABLE] = ""
        return 0
    locks = _locks()
    chosen = os.environ.get(VARIABLE)
    names = [uuid for _, uuid in locks] if chosen is None else [name for name in chosen.split(",") if name.strip()]
    if 0 < len(names) < count:
        where = "this machine has" if chosen is None else f"{VARIABLE} names"
        raise UserError(f"config: gpus: a job asks for {count} GPUs, {where} {len(names)}; lower the data set's gpus")
    if not names or "SLURM_JOB_ID" in os.environ or (chosen is not None and len(names) == count):
        return min(count, len(names))
    known = dict(locks)
    taken = _wait(names, [known.get(name.strip(), name.strip()) for name in names], count)
    os.environ[VARIABLE] = ",".join(taken)
    print(f"GPU {os.environ[VARIABLE]}", flush=True)
    return count


def _locks() -> list[tuple[str, str]]:
    """Number and UUID of each GPU of this machine; locks go by the UUID, by whichever name a GPU was chosen."""
    command = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
    try:
        asked = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    except OSError:
        return []
    try:
        lines = asked.communicate(timeout=PATIENCE)[0].splitlines()
    except subprocess.TimeoutExpired:
        asked.kill()  # and not waited for: what a driver holds does not die
        raise UserError(
            f"nvidia-smi: does not answer in {PATIENCE} s, the GPUs' driver hangs; restart it, or run without (gpus: 0)"
        ) from None
    if asked.returncode:
        return []
    return [(number.strip(), uuid.strip()) for number, uuid in (line.split(",") for line in lines)]


def _wait(names: list[str], identities: list[str], count: int) -> list[str]:
    folder = Path(tempfile.gettempdir()) / "gpu-leases"
    folder.mkdir(exist_ok=True)
    told = False
    while True:
        taken: dict[str, int] = {}
        for name, identity in zip(names, identities, strict=True):
            if len(taken) < count and (descriptor := _lock(folder / f"{identity.replace('/', '_')}.lock")) is not None:
                taken[name] = descriptor
        if len(taken) == count:
            _held.extend(taken.values())
            return list(taken)
        for descriptor in taken.values():  # none is kept from a job that needs fewer
            os.close(descriptor)
        if not told:
            print(f"waiting for {count} of {len(names)} GPUs, which other jobs have", flush=True)
            told = True
        time.sleep(1)


def _lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        raise UserError(
            f"{path}: its file system gives no lock ({error.strerror}); name another folder for temporary files in TMPDIR, or "
            f"as many GPUs as a job asks for in {VARIABLE}"
        ) from None
    os.set_inheritable(descriptor, True)  # torchrun, which this process may become, holds it on
    return descriptor
