"""Readers on damaged files, the short form of tests/tools/fuzz_readers.py; and that it notices what it is there for."""

import mmap
import os
import time
from pathlib import Path
from random import Random

import pytest

from tests.tools import fuzz_readers
from tests.tools.fuzz_targets import Target
from tests.tools.mutations import damaged, of_png, of_safetensors, of_zip, reworded
from workflow_scripts.base.errors import UserError

INPUTS = 120
SEEDS = (b"id,image\na,a.png\n" * 4, bytes(range(200)))


def test_every_reader_gives_a_value_or_one_line():
    """Those of the bare library are left to the benchmark, as it is known to hang."""
    with fuzz_readers.prepared() as (folder, known):
        for target in known.values():
            if not target.bare:
                found = fuzz_readers.fuzz(target, INPUTS, 1, folder)
                assert not found.faults, (
                    found,
                    [fuzz_readers.damaged_input(target, 1, n) for n in found.faults.values()],
                )
                assert found.accepted + found.refused == INPUTS and found.accepted >= 1, found


def crash() -> None:
    os.abort()


def hang() -> None:
    while True:
        pass


def hog() -> None:
    """New pages, however much the process has left over from what it has freed."""
    mmap.mmap(-1, 64 << 20).write(bytes(64 << 20))


def trace() -> None:
    raise KeyError("x")


def silent() -> None:
    raise UserError("something is wrong")


WRONG = {
    crash: "the process ended",
    hang: "a hang",
    hog: " MiB",
    trace: "KeyError at",
    silent: "does not name the file",
    lambda: fuzz_readers.damaged("x"): "AttributeError",
}


@pytest.mark.parametrize(("fault", "message"), WRONG.items(), ids=[message for message in WRONG.values()])
def test_faults_are_found(tmp_path, monkeypatch, fault, message):
    monkeypatch.setattr(fuzz_readers, "PATIENCE", 0.5 if fault is hang else 30)  # first pages can be slow to come
    monkeypatch.setattr(fuzz_readers, "MOST_MEMORY", 40 << 20)
    reads = []

    def read(path: Path) -> None:
        reads.append(path.read_bytes())
        if len(reads) == 3:
            fault()

    found = fuzz_readers.fuzz(Target("made", read, "a.bin", SEEDS), 8, 0, tmp_path)
    assert any(message in told for told in found.faults), found
    if message in ("the process ended", "a hang"):  # the next process reads three more and is ended in the same way
        assert (found.accepted, found.crashes + found.hangs, set(found.faults.values())) == (6, 2, {2})
    else:
        assert (found.accepted, found.kinds.total(), set(found.faults.values())) == (7, 1, {2})


@pytest.mark.parametrize("mutate", [damaged, reworded, of_png, of_zip, of_safetensors])
def test_damage_is_the_same_for_the_same_seed_and_small(mutate):
    made = [[mutate(SEEDS[n % 2], SEEDS, Random(f"{n}")) for n in range(200)] for _ in range(2)]
    assert made[0] == made[1]
    assert len(set(made[0])) > 150 and max(map(len, made[0])) < 1 << 20


def test_it_does_not_wait_for_time_that_others_use(tmp_path, monkeypatch):
    """Computing counts, as other programs may have the machine."""
    monkeypatch.setattr(fuzz_readers, "PATIENCE", 0.2)
    found = fuzz_readers.fuzz(Target("made", lambda path: time.sleep(0.5), "a.bin", SEEDS), 1, 0, tmp_path)
    assert (found.accepted, found.hangs) == (1, 0)
