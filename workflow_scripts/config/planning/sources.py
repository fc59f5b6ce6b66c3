"""Digests of the user's own files, which Snakemake cannot watch one by one.

Contents decide, not dates: a file is hashed again only when its size or time changed, so a touched photograph makes
nothing stale and a replaced one does. The digests found are kept in `results/{dataset}/.sources.json`.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from pathlib import Path

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.base.listings import pictures_in
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.types.datasets import Dataset

SHA256 = re.compile("[0-9a-f]{64}")
MAPS = (".npy", ".npz", ".png", ".h5", ".hdf5")  # endings of files of maps
BLOCK = 500  # files that a thread takes at once: one by one, handing them over takes longer than looking at them
QUICK = 0.05  # seconds for a block, where no file is hashed and the disk is of this machine


def digest(name: str, dataset: Dataset, part: str) -> str:
    """Digest of the files of a part of a data set, as `Dataset.paths` names them; none of rendered ones."""
    if dataset.rendered:
        return ""
    paths = sorted({str(path) for path in dataset.paths(part)})
    return digest_of(name, paths, [Path(output_path("unpack", archive=archive)) for archive in dataset.archives])


def folder_digest(name: str, folder: str) -> str:
    """Digest of a folder's images."""
    return digest_of(name, sorted(pictures_in(folder)))


def digest_of(name: str, paths: list[str], manifests: Sequence[Path] = ()) -> str:
    """Digest of the files' names and contents; a missing file has a digest too, its stage will name it.

    Unpacked files count only where they are not as their manifest says: the stages wait for the manifest itself, so
    that the digest is the same before and after unpacking.
    """
    unpacked = {}
    for manifest in manifests:
        folder = f"{manifest.with_suffix('')}{os.sep}"
        if any(path.startswith(folder) for path in paths):
            unpacked[folder] = _manifest(manifest)
    known = _Known(Path("results") / name / ".sources.json", unpacked)
    total = hashlib.sha256("".join(_at_once(known.lines, [*dict.fromkeys(paths)])).encode())
    known.save()
    return total.hexdigest()[:32]


def _at_once(look: Callable[[list[str]], list[str]], paths: list[str]) -> list[str]:
    """What is found of files: in one thread while that is quick, as threads would take turns; else in several."""
    blocks, lines = [paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK)], list[str]()
    is_quick = True
    while blocks and is_quick:
        start = time.perf_counter()
        lines += look(blocks.pop(0))
        is_quick = time.perf_counter() - start < QUICK
    with ThreadPoolExecutor(8) as pool:
        return lines + [*chain.from_iterable(pool.map(look, blocks))]


def mask_files(path: str) -> list[str]:
    """The files that count of a folder or an archive of masks."""
    root = Path(path)
    if root.is_file():
        return [path]
    masks = [*root.glob("*"), *(root / "SegmentationClass").rglob("*")]
    return [str(root / "labelmap.txt"), *sorted(str(file) for file in masks if file.name.lower().endswith(".png"))]


def map_files(path: str) -> list[str]:
    """The files that count of a folder of maps and of those in it, or its one file."""
    if os.path.isfile(path):
        return [path]
    found: list[str] = []
    for folder, folders, names in os.walk(path):
        found += (os.path.join(folder, name) for name in names if name.lower().endswith(MAPS))
        if folder != path:
            folders.clear()
    return sorted(found)


def _manifest(path: Path) -> dict[str, list]:
    """By path: size in bytes, time in nanoseconds and SHA-256 of an unpacked file; nothing while none is unpacked."""
    return _written(str(path), f"{path.with_suffix('')}{os.sep}", *_stamp(path))


def _stamp(path: Path) -> tuple[int, int]:
    """What tells a file from what it was: its size and time."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=8)
def _written(path: str, folder: str, size: int, time: int) -> dict[str, list]:
    """The entries of a file, read once while it stays as it is; of the manifest of a folder where that is not empty."""
    try:
        found = json.loads(Path(path).read_text())
        entries = _entries(found["files"] if folder else found)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {f"{folder}{name}": entry for name, entry in entries.items()} if folder else entries


def _entries(found) -> dict[str, list]:
    """Those of JSON that are as they were written: by path size, time and digest."""
    known = found.items() if isinstance(found, dict) else ()
    return {
        path: entry
        for path, entry in known
        if isinstance(entry, list) and list(map(type, entry)) == [int, int, str] and SHA256.fullmatch(entry[2])
    }


class _Known:
    """Digests of files whose size and time are unchanged since they were hashed."""

    def __init__(self, path: Path, unpacked: Mapping[str, dict[str, list]]):
        self.path = path
        self.unpacked = unpacked  # by the folder that it is in
        self.entries = _written(str(path.absolute()), "", *_stamp(path))
        self.changed = False

    def lines(self, paths: Iterable[str]) -> list[str]:
        """A line for each file that counts: not those with the content that was unpacked, or will be."""
        lines = []
        for path in paths:
            try:
                status = os.stat(path)
                key = [status.st_size, status.st_mtime_ns]
            except (OSError, ValueError):  # the latter for a null character in a name
                key = []
            archive = next((files for folder, files in self.unpacked.items() if path.startswith(folder)), None)
            expected = archive.get(path, [0, 0, "missing"]) if archive else None
            if archive == {} or expected and expected[:2] == key:
                continue
            value = self._digest(path, key) if key else "missing"
            if not expected or value != expected[2]:
                lines.append(f"{path}\0{value}\n")
        return lines

    def _digest(self, path: str, key: list[int]) -> str:
        entry = self.entries.get(path)
        if entry and entry[:2] == key:
            return entry[2]
        try:
            value = file_sha256(path)
        except OSError:
            return "unreadable"
        self.entries[path] = [*key, value]
        self.changed = True
        return value

    def save(self) -> None:
        if not self.changed:
            return
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(self.entries))
            os.replace(temporary, self.path)
        except OSError:  # a read-only results folder only costs the time to hash again
            temporary.unlink(missing_ok=True)
