"""Faults of the machine: full, read-only and lying disks, killed workers, locks that there are not, clocks that go wrong.

Each ends in one line, leaves nothing half-written, and a rerun repairs it (docs/faults.md).
"""

import errno
import fcntl
import io
import multiprocessing
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from conftest import SMALL, dry_run, environment, refused, run
from stage_runs import arguments, start
from torch.utils.data import Dataset
from training_set import recipe

from workflow_scripts.base.errors import UserError, disk_fault
from workflow_scripts.commands import export, inspect
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.checkpoints.weights import save_weights
from workflow_scripts.data.index import write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.data.readers.archives import unpack
from workflow_scripts.data.readers.download import download
from workflow_scripts.run import gpus
from workflow_scripts.run.parallel import ordered_map
from workflow_scripts.store import artifacts
from workflow_scripts.store.artifacts import Reader, create, replaced
from workflow_scripts.store.provenance import check_bytes, parent_digests, write_sidecar
from workflow_scripts.training.feed import batches
from workflow_scripts.training.record import Record
from workflow_scripts.training.state import State

ABOUT = {"dataset": "demo", "split": "train", "classes": ["cat"]}
FULL = "cannot be written (No space left on device); make room"


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a small disk: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


# --- full, read-only and lying disks ----------------------------------------------------------------------------------


def put(path: Path, images: int, side: int) -> None:
    rng = np.random.default_rng(0)
    with create(path, "mask", **ABOUT) as artifact:
        for number in range(images):
            artifact.put(f"{number}", label=rng.integers(0, 255, (side, side), dtype=np.uint8))


def put_index(path: Path) -> None:
    """Texts of HDF5 lie on a heap that it reads back while it writes."""
    entries = [Entry(f"{n:06d}", f"{n:06d}.jpg", 9, 9, f"{n:064d}", (0,), np.zeros((0, 5))) for n in range(5000)]
    write_index(path, "demo", ["cat"], entries, {"train": [entry.id for entry in entries]})


def save_state(path: Path) -> None:
    step = SimpleNamespace(state_dict=lambda: {"weights": torch.rand(100_000)})
    State(str(path), "one").save(1, step, Record())


def text(path: Path) -> None:
    with replaced(path) as temporary:
        temporary.write_text("x" * 1_000_000)


def unpacked(path: Path, archive: Path) -> None:
    unpack(archive, path, ["set"], 1 << 30)


WRITERS = {
    "large arrays": partial(put, images=30, side=200),
    "little arrays": partial(put, images=3000, side=20),
    "one array": partial(put, images=1, side=2000),
    "index": put_index,
    "weights": lambda path: save_weights(torch.nn.Linear(500, 500), path),
    "state": save_state,
    "text": text,
    "unpacked": lambda path: unpacked(path, path.parent.parent / "a.tar"),
    "download": lambda path: download((path.parent.parent / "a.tar").as_uri(), None, path),
}


def archive(path: Path) -> None:
    with tarfile.open(path, "w") as file:
        about = tarfile.TarInfo("set/a")
        about.size = 1_000_000
        file.addfile(about, io.BytesIO(bytes(about.size)))


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk(disk, tmp_path, write, capfd):
    archive(tmp_path / "a.tar")
    refused(lambda: write(disk / "made"), disk / "made", FULL)
    assert not [path.name for path in disk.iterdir()]
    (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
    refused(lambda: write(disk / "made"), disk / "made", FULL)
    assert [path.name for path in disk.iterdir()] == ["filler"]
    assert "Traceback" not in capfd.readouterr().err
    subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
    write(disk / "made")  # the rerun, once there is room
    assert len(list(disk.iterdir())) == 2


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_read_only_disk(disk, tmp_path, write):
    archive(tmp_path / "a.tar")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    refused(lambda: write(disk / "made"), disk / "made", "cannot be written (Read-only file system)")


def test_every_stage_on_a_full_disk(tree, disk, monkeypatch):
    """One job of every stage of the demo: one line, and nothing is left."""
    (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
    monkeypatch.chdir(tree)
    plan, done = Plan(Config.load(*SMALL)), set()
    for stage, wildcards in plan.jobs("demo"):
        if stage in done:
            continue
        done.add(stage)
        command = arguments(plan, stage, **wildcards)
        for place, option in enumerate(command):
            if option.endswith("-to") and option.startswith("--"):
                command[place + 1] = str(disk / Path(command[place + 1]).name)
        message = start(plan.modules(stage, wildcards)[0], command)
        assert isinstance(message, str) and message.startswith("error: ") and message.count("\n") == 0, (stage, message)
        assert FULL in message and str(disk) in message, (stage, message)
        assert [path.name for path in disk.iterdir()] == ["filler"], stage
    assert len(done) > 20


def test_what_is_behind_an_error():
    """Libraries hide the number of an error in text, or raise another one on top."""
    assert (
        disk_fault(OSError(errno.ENOSPC, "x"))
        == disk_fault(RuntimeError("No space left on device"))
        == os.strerror(errno.ENOSPC)
    )
    error = RuntimeError("unexpected position")
    error.__context__ = OSError(errno.EDQUOT, "x")
    assert disk_fault(error) == os.strerror(errno.EDQUOT)
    assert disk_fault(ValueError("x")) is None


def written(folder: Path) -> dict[str, Path]:
    """An artifact of each kind, with its sidecar."""
    put(folder / "a.h5", 3, 40)
    save_weights(torch.nn.Linear(5, 5), folder / "a.safetensors")
    for name, content in (("a.csv", "system,miou\ncam,1\n"), ("a.json", '{"threshold": 0.2}'), ("a.png", "\x89PNG")):
        (folder / name).write_text(content)
    found = {path.name: path for path in folder.iterdir()}
    for path in found.values():
        write_sidecar(str(path), "made", "{}", "0", {}, 1.0, [])
    return found


@pytest.mark.parametrize("name", ["a.h5", "a.safetensors", "a.csv", "a.json", "a.png"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_one_changed_bit_is_told_before_a_stage_reads(tmp_path, name, share):
    path = written(tmp_path)[name]
    whole = path.read_bytes()
    place = int(share * len(whole))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    for check in (lambda: parent_digests([str(path)]), lambda: check_bytes(path)):
        refused(check, path, "its bytes are not those that its stage wrote; delete it and run again")
    path.write_bytes(whole)
    check_bytes(path)


def test_one_changed_bit_is_told_before_people_look(tmp_path, capsys):
    path = written(tmp_path)["a.h5"]
    inspect.main([str(path), "--number", "1"])
    assert "3 images" in capsys.readouterr().out
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    for command in (inspect.main, export.main):
        with pytest.raises(UserError, match=f"^{path}: its bytes are not those that its stage wrote"):
            command(
                [str(path), *(["--format", "voc", "--out", str(tmp_path / "out")] if command is export.main else [])]
            )


def test_one_changed_bit_of_a_state_begins_anew(tmp_path, capsys):
    taken = []
    step = SimpleNamespace(state_dict=lambda: {"weights": torch.rand(100)}, load_state_dict=taken.append)
    state = State(str(tmp_path / "a"), "one")
    for share in np.linspace(0, 0.999, 12):
        state.save(3, step, Record())
        whole = bytearray(state.path.read_bytes())
        whole[int(share * len(whole))] ^= 16
        state.path.write_bytes(whole)
        assert state.load(step, Record()) == 0 and not state.path.exists() and not taken
        assert "cannot be read, starting from the beginning" in capsys.readouterr().out
    state.save(3, step, Record())
    assert state.load(step, Record()) == 3 and len(taken) == 1


# --- workers that the system kills ------------------------------------------------------------------------------------


def killed(size: int, item: int) -> bytes:
    time.sleep(0.1)
    if item == 20:  # the other worker is at work, too
        os.kill(os.getpid(), signal.SIGKILL)
    return bytes(size)


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_killed_worker(size):
    """The others may be writing a result that no longer anybody reads."""
    with pytest.raises(UserError, match="a worker process was killed, .* fewer `workers`"):
        list(ordered_map(partial(int, size), killed, range(50), 2))
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("SpawnProcess")]


class Faulty(Dataset):
    def __init__(self, fault=None):
        self.fault = fault

    def __len__(self) -> int:
        return 8

    def __getitem__(self, key: tuple[int, int]) -> dict:
        if key[1] == 5 and self.fault:
            self.fault()
        return {"image": torch.zeros(3, 8, 8)}


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def unforeseen() -> None:
    raise KeyError("a fault")


def train(samples: Dataset, step=None) -> None:
    with batches(samples, recipe(), 0, torch.device("cpu")) as loaded:
        for _ in loaded:
            if step:
                step()


def kill_the_loader() -> None:
    """And be told of it in the middle of a step."""
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGKILL)
    time.sleep(60)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("fault", "step"), [(kill, None), (None, kill_the_loader)], ids=["loading", "waiting"])
def test_a_killed_process_that_loads_images(fault, step):
    message = refused(lambda: train(Faulty(fault), step), "fewer `workers`")
    assert message.startswith("a process that loads images ended (DataLoader worker")


@pytest.mark.parametrize("step", [None, unforeseen], ids=["in an image", "in a step"])
def test_processes_that_load_images_end_with_an_unforeseen_fault(step):
    """Python keeps the stack trace of a program that fails until its end, and waits for its processes there."""
    with pytest.raises(KeyError, match="a fault") as kept:
        train(Faulty(None if step else unforeseen), step)
    assert kept.tb
    assert not [child for child in multiprocessing.active_children() if child.name.startswith("ForkProcess")]


# --- locks ------------------------------------------------------------------------------------------------------------

NO_LOCK = [errno.EAGAIN, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP]


def test_a_lock_that_another_program_holds(tmp_path):
    put(tmp_path / "a.h5", 1, 40)
    with open(tmp_path / "a.h5", "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused(
            lambda: Reader(tmp_path / "a.h5", "mask").ids, tmp_path / "a.h5", "gives no lock", "HDF5_USE_FILE_LOCKING"
        )
    assert Reader(tmp_path / "a.h5", "mask").ids == ["0"]


@pytest.mark.parametrize("number", NO_LOCK, ids=errno.errorcode.get)
def test_a_file_system_without_locks(tmp_path, monkeypatch, number):
    put(tmp_path / "a.h5", 1, 40)

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(h5py, "File", fail)
        refused(lambda: artifacts.open_hdf5(tmp_path / "a.h5"), tmp_path / "a.h5", "gives no lock", "and run again")
    monkeypatch.setattr(fcntl, "flock", fail)
    if number != errno.EAGAIN:  # which says that another one holds it
        refused(lambda: gpus._lock(tmp_path / "gpu.lock"), tmp_path / "gpu.lock", "gives no lock", "TMPDIR")


STAGE = """
import errno
from workflow_scripts.run.command import run

def main(job):
    raise OSError(errno.ENOSPC, "x", "/tmp/somewhere")

run(main, outputs=("made",))
"""


def test_the_stages_command_line_tells_a_disk_that_others_met(tmp_path):
    """Such as one for temporary files, which no artifact is on."""
    (tmp_path / "stage.py").write_text(STAGE)
    options = ["--settings", "{}", "--code", "0", "--made-to", str(tmp_path / "made")]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "stage.py"), *options],
        env=os.environ | {"PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: /tmp/somewhere: cannot be written (No space left on device); make room")


# --- in the workflow --------------------------------------------------------------------------------------------------

CAMS, MASKS = "results/demo/seed-0/cams/eps.h5", "results/demo/seed-0/masks/eps.h5"


def test_a_changed_byte_is_told_by_the_next_run_and_repaired_by_the_one_after(clone):
    before = {path: (clone / path).read_bytes() for path in (CAMS, MASKS)}
    content = bytearray(before[CAMS])
    content[len(content) // 2] ^= 1
    (clone / CAMS).write_bytes(content)
    failed = run(clone, MASKS)
    told = f"error: {CAMS}: its bytes are not those that its stage wrote; delete it and run again"
    logs = "".join(path.read_text() for path in clone.rglob("*.log"))
    assert failed.returncode and told in failed.stderr + failed.stdout + logs
    (clone / CAMS).unlink()
    repaired = run(clone, MASKS)
    assert repaired.returncode == 0, repaired.stderr[-3000:]
    assert {path: (clone / path).read_bytes() for path in before} == before


def _whole(locks: Path) -> list[Path]:
    return [path for path in locks.glob("*.lock") if MASKS in path.read_text() or "index.h5" in path.read_text()]


def test_two_runs_at_once(clone):
    """The second ends with a line that names the first, which goes on as if nothing had been."""
    before = (clone / MASKS).read_bytes()
    (clone / MASKS).unlink()
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", *SMALL, "--", MASKS]
    with subprocess.Popen(
        command, cwd=clone, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as first:
        try:
            # Stopped between its two locks, or while it writes one, the first would not keep the second out.
            while first.poll() is None and len(_whole(clone / ".snakemake/locks")) < 2:
                time.sleep(0.02)
            first.send_signal(signal.SIGSTOP)
            second = run(clone, MASKS)
            first.send_signal(signal.SIGCONT)
            told = first.communicate()[1]
        except BaseException:
            first.kill()
            raise
    assert second.returncode and f"process {first.pid} on" in second.stderr and "Traceback" not in second.stderr
    assert first.returncode == 0, told[-3000:]
    assert (clone / MASKS).read_bytes() == before and dry_run(clone) == []


def test_clocks_that_were_set_back_or_forward(clone):
    """Content decides: neither files of the future nor inputs that are younger than what is made of them run a job."""
    for place, path in enumerate(sorted((clone / "results").rglob("*"))):
        shift = (-1, 1)[place % 2] * 365 * 86400
        os.utime(path, (time.time() + shift, time.time() + shift))
    assert dry_run(clone) == []
