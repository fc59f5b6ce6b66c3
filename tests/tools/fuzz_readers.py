"""Read damaged files: whatever is in a file, a reader gives a value or the project's one-line error, soon and in little memory.

    python tests/tools/fuzz_readers.py [--inputs 20000] [--seed 0] [--only images csv ...] [--keep folder]

Every reader of files that come from elsewhere, or that lie on a disk between two jobs, is given sound small files that are
damaged at random, the same ones for the same seed. It works in a process of its own, of which the address space is
bounded, and which is killed when one input takes too long. Exits with 1 where a reader ends in anything but a value or a
`UserError` in printable lines that name the file; of the bare library (`hdf5_bare`), which stages reach only behind a
checksum, crashes, hangs and memory are counted alone.
"""

import argparse
import contextlib
import faulthandler
import json
import mmap
import os
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import torch

from tests.tools.fuzz_targets import Target, targets
from workflow_scripts.base.errors import UserError

PATIENCE = 5  # seconds of computing that one input may take
SLEEP = 300  # seconds in which it must end, whatever else the machine does
ROOM = 2 << 30  # bytes of address space beyond what Python and its libraries have
MOST_MEMORY = 512 << 20  # bytes that one input may bring the process to, beyond what it had
LONGEST_LINE, MOST_LINES = 2000, 52  # of an error
HUNG, ENDED = "a hang", "the process ended"


@dataclass
class Outcome:
    """What became of the inputs of one reader; `faults` are kinds of what must not be, with the first input of each."""

    name: str
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    crashes: int = 0
    hangs: int = 0
    slowest: float = 0.0  # seconds
    memory: int = 0  # bytes
    seconds: float = 0.0
    kinds: Counter = field(default_factory=Counter)
    faults: dict[str, int] = field(default_factory=dict)

    def row(self) -> str:
        wrong = self.kinds.total()
        return (
            f"| {self.name} | {self.inputs} | {self.accepted} | {self.refused} | {wrong} | {self.crashes} | {self.hangs} "
            f"| {self.memory / 2**20:.0f} | {self.slowest:.2f} | {self.seconds:.0f} |"
        )


HEADER = (
    "| reader | inputs | accepted | refused | other errors | crashes | hangs | peak MiB | slowest s | s |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)


def damaged_input(target: Target, seed: int, number: int) -> bytes:
    """The input of that number; number 0 and the next few are the sound files themselves."""
    if number < len(target.seeds):
        return target.seeds[number]
    rng = Random(f"{seed} {target.name} {number}")
    return target.mutate(rng.choice(target.seeds), target.seeds, rng)


def fault_of(target: Target, path: Path) -> tuple[str, str | None]:
    """Read a file: `accepted`, `refused` or `wrong`, and for the latter what was wrong."""
    try:
        target.read(path)
        return "accepted", None
    except UserError as error:
        lines = str(error).split("\n")
        if not all(line.isprintable() and len(line) <= LONGEST_LINE for line in lines) or len(lines) > MOST_LINES:
            return "wrong", f"an unprintable or long message, such as {str(error)[:100]!r}"
        if not any(name in str(error) for name in (path.name, *target.told)):
            return "wrong", f"a message that does not name the file: {str(error)[:100]!r}"
        return "refused", None
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        frame = next((item for item in reversed(frames) if "workflow_scripts" in item.filename), frames[-1])
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        return "wrong", f"{type(error).__name__} at {where}"


class Progress:
    """What a reader's process tells, in memory that outlives it."""

    FORM = struct.Struct("<qqqqqd")

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, mmap.PAGESIZE)

    def tell(self, *values: float) -> None:
        self.FORM.pack_into(self.memory, 0, *values)

    @property
    def told(self) -> tuple:
        """Number of the input that is read, accepted, refused, others, peak memory, and seconds of the slowest."""
        return self.FORM.unpack_from(self.memory, 0)


def work(target: Target, seed: int, first: int, last: int, folder: Path, progress: Progress, notes: Path) -> None:
    """Read inputs one after another in this process."""
    path = folder / target.file
    start = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (start + ROOM, start + ROOM))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most, slowest = 0, 0.0
    counted: Counter = Counter()
    with open(notes, "a") as file:
        for number in range(first, last):
            progress.tell(number, counted["accepted"], counted["refused"], counted["wrong"], most, slowest)
            path.write_bytes(damaged_input(target, seed, number))
            clock, before = time.perf_counter(), _peak_from_now()
            kind, fault = fault_of(target, path)
            slowest = max(slowest, time.perf_counter() - clock)
            memory = _peak() - before
            if memory > MOST_MEMORY:
                fault = fault or f"{memory >> 20} MiB"
                kind = "wrong"
            most = max(most, memory)
            counted[kind] += 1
            if fault:
                file.write(json.dumps([number, fault]) + "\n")
                file.flush()
    progress.tell(last, counted["accepted"], counted["refused"], counted["wrong"], most, slowest)


def _peak_from_now() -> int:
    """Forget the peak of this process's memory; the bytes that it has now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) << 10


def fuzz(target: Target, inputs: int, seed: int, folder: Path) -> Outcome:
    """Give a reader so many inputs; a process that ends or hangs is replaced by one that goes on behind that input."""
    found, clock = Outcome(target.name, inputs), time.perf_counter()
    notes = folder / f"{target.name}.notes"
    notes.touch()
    first = 0
    while first < inputs:
        progress = Progress()
        progress.tell(first, 0, 0, 0, 0, 0.0)
        process = os.fork()
        if process == 0:
            _child(target, seed, first, inputs, folder, progress, notes)
        hung = _watched(process, progress)
        number, accepted, refused, _, memory, slowest = progress.told
        found.accepted, found.refused = found.accepted + accepted, found.refused + refused
        found.memory, found.slowest = max(found.memory, memory), max(found.slowest, slowest)
        if number < inputs:
            found.hangs, found.crashes = found.hangs + hung, found.crashes + (not hung)
            found.faults.setdefault(HUNG if hung else ENDED, number)
        first = number + 1
    for line in notes.read_text().splitlines():
        number, fault = json.loads(line)
        found.kinds[fault] += 1
        found.faults.setdefault(fault, number)
    found.seconds = time.perf_counter() - clock
    return found


def _child(*arguments) -> None:
    """Never returns; what a reader prints is not for this program's output."""
    code = 1
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        faulthandler.disable()  # pytest's, which says of a crash more than the exit status
        warnings.simplefilter("ignore")
        work(*arguments)
        code = 0
    finally:
        os._exit(code)


def _watched(process: int, progress: Progress) -> bool:
    """Wait for a process to end; whether it was killed, as it did not get on."""
    number, since, used = progress.told[0], time.monotonic(), 0.0
    while True:
        if os.waitpid(process, os.WNOHANG)[0]:
            return False
        if progress.told[0] != number:
            number, since, used = progress.told[0], time.monotonic(), _computed(process)
        elif _computed(process) - used > PATIENCE or time.monotonic() - since > SLEEP:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return True
        time.sleep(0.02)


def _computed(process: int) -> float:
    """Seconds that a process has computed."""
    user, system = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def prepared() -> Iterator[tuple[Path, dict[str, Target]]]:
    """The readers with their sound files, in a folder that is removed at the end."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder, before = Path(name), Path.cwd()
        os.chdir(folder)  # some readers keep files beside results/
        try:
            yield folder, targets(folder, before)
        finally:
            os.chdir(before)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20_000, help="of each reader (20,000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="readers to try; all if none")
    parser.add_argument("--keep", type=Path, help="a folder for the first input of every fault")
    arguments = parser.parse_args()
    keep, failed = arguments.keep and arguments.keep.resolve(), False
    print(HEADER, flush=True)
    with prepared() as (folder, known):
        for name in arguments.only or known:
            outcome = fuzz(known[name], arguments.inputs, arguments.seed, folder)
            print(outcome.row(), flush=True)
            for fault, number in outcome.faults.items():
                failed = failed or not (known[name].bare and (fault in (HUNG, ENDED) or fault.endswith(" MiB")))
                print(
                    f"{name}, input {number}: {fault} ({outcome.kinds[fault] or 1} times)", file=sys.stderr, flush=True
                )
                if keep:
                    keep.mkdir(exist_ok=True)
                    (keep / f"{name}-{number}").write_bytes(damaged_input(known[name], arguments.seed, number))
    sys.exit(failed)


if __name__ == "__main__":
    main()
