"""Digests of the user's own files, which Snakemake cannot watch one by one.

Contents decide, not dates: a file is hashed again only when its size or time changed, so a touched photograph makes
nothing stale and a replaced one does. The digests found are kept in `results/{dataset}/.sources.json`.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.listings import listed_ids, picture_files, table_rows
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.types import datasets

SHA256 = re.compile("[0-9a-f]{64}")
CONTEXT_NAMES = "labels.txt"  # of PASCAL-Context, beside its maps
OF_RUNS = ("results", "logs", ".snakemake", ".git")  # folders where Snakemake runs
OF_FILE_MANAGERS = {"thumbs.db", "desktop.ini"}
BLOCK = 500  # files that a thread takes at once: one by one, handing them over takes longer than looking at them


def digest(name: str, dataset: datasets.Dataset, what: str, folder: str | None = None) -> str:
    """Digest of the files behind `what`.

    That is images (with labels and lists), truth, instances, contours (of SBD), context (of PASCAL-Context), or saliency
    (in `folder`).
    """
    if isinstance(dataset, datasets.SyntheticDataset) and what != "saliency":
        return ""
    paths = sorted({str(path) for path in _files(dataset, what, folder)})
    archives = dataset.archives if what != "saliency" else ()
    return digest_of(name, paths, [Path(output_path("unpack", archive=archive)) for archive in archives])


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
    known = _Known(Path("results") / name / ".sources.json", unpacked.values())
    blocks = [paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK)]
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda block: [known.digest(path) for path in block], blocks)
        digests = dict(zip(paths, chain.from_iterable(found), strict=True))
    known.save()
    total = hashlib.sha256()
    for path, value in digests.items():
        if not _as_unpacked(path, value, unpacked):
            total.update(f"{path}\0{value}\n".encode())
    return total.hexdigest()[:32]


def _as_unpacked(path: str, value: str, unpacked: dict[str, dict[str, list]]) -> bool:
    """Whether a file of an archive's folder has the content that was unpacked, or will be written."""
    for folder, files in unpacked.items():
        if path.startswith(folder):
            return not files or value == (files[path][2] if path in files else "missing")
    return False


def mask_files(path: str) -> list[str]:
    """The files that count of a folder or an archive of masks."""
    root = Path(path)
    if root.is_file():
        return [path]
    masks = [*root.glob("*"), *(root / "SegmentationClass").rglob("*")]
    return [str(root / "labelmap.txt"), *sorted(str(file) for file in masks if file.name.lower().endswith(".png"))]


def has_truth(dataset: datasets.Dataset) -> bool:
    """Whether there are truth masks: rendered, drawn from instances, in the folder `masks`, or in the column `mask`."""
    if isinstance(dataset, datasets.CsvDataset):
        return any(row.get("mask") for row in _rows(Path(dataset.table)))
    return not isinstance(dataset, datasets.VocDataset) or dataset.masks is not None


def _files(dataset: datasets.Dataset, what: str, folder: str | None) -> Iterator[Path | str]:
    """Files as the lists or the table name them, unchecked: stages are what checks them."""
    if what == "saliency":
        yield from _pictures(folder)
    elif isinstance(dataset, datasets.VocDataset):
        yield from _voc_files(dataset, what)
    elif isinstance(dataset, datasets.CocoDataset):
        yield from _coco_files(dataset, what)
    elif isinstance(dataset, datasets.CsvDataset):
        table, column = Path(dataset.table), "mask" if what == "truth" else "image"
        yield table
        yield from (table.parent / row[column] for row in _rows(table) if row.get(column))


def _voc_files(dataset: datasets.VocDataset, what: str) -> Iterator[Path | str]:
    def named(folder: Path, ids: Iterable[str], suffix: str) -> Iterator[str]:
        return (f"{folder}{os.sep}{identifier}{suffix}" for identifier in ids)  # tens of thousands: no `Path`s

    for split in dataset.splits.values():
        if split.ids is None or what != "images" and not split.labelled:
            continue
        root = Path(split.root or dataset.root)
        lists = [root / split.ids, *(Path(dataset.sbd or "") / name for name in split.sbd)]
        ids = dict.fromkeys(identifier for path in lists for identifier in _ids(path))
        if what == "contours":
            yield from named(Path(dataset.sbd or "") / "cls", ids, ".mat")
            continue
        if what == "context":
            yield Path(dataset.context or "") / CONTEXT_NAMES
            yield from named(Path(dataset.context or ""), ids, ".mat")
            continue
        if what != "images":
            folders = [dataset.masks] if what == "truth" else [dataset.masks, dataset.objects]
            for folder in folders:
                yield from named(root / folder, ids, ".png")
            if dataset.sbd:
                yield from named(Path(dataset.sbd) / ("cls" if what == "truth" else "inst"), ids, ".mat")
            continue
        yield from lists
        pictures = picture_files(root / dataset.images)
        absent = f"{root / dataset.images}{os.sep}"
        yield from (path for name in ids for path in pictures.get(name) or [f"{absent}{name}.jpg"])
        if split.labelled:
            yield from named(root / dataset.annotations, ids, ".xml")


def _coco_files(dataset: datasets.CocoDataset, what: str) -> Iterator[Path | str]:
    """Whole folders: which of their images have a label is known to the instances alone, which take long to read."""
    root = Path(dataset.root)
    splits = [split for split in dataset.splits.values() if split.ids]
    folders = {"truth": [root / name for name in dataset.maps], "instances": []}.get(what)
    folders = [root / split.folder for split in splits] if folders is None else folders
    yield from (root / split.ids for split in splits)
    for folder in folders:
        yield from _below(folder) if what == "images" else _pictures(folder)


def _below(folder: str | Path) -> Iterator[str]:
    """Files of a folder and of those in it, pictures whatever they are called; not what runs and file managers put there."""
    seen, waiting = {os.path.realpath(name) for name in OF_RUNS}, [str(folder)]
    while waiting:
        folder = waiting.pop()
        if (real := os.path.realpath(folder)) in seen:  # links may lead in a circle
            continue
        seen.add(real)
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    waiting.append(entry.path)
                elif not entry.name.startswith(".") and entry.name.lower() not in OF_FILE_MANAGERS:
                    yield entry.path


def _pictures(folder: str | Path) -> Iterator[str]:
    """Paths of a folder's images; of a hundred thousand, text is made much faster than `Path`."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        yield from (entry.path for entry in entries if entry.name.endswith((".jpg", ".png")))


def _manifest(path: Path) -> dict[str, list]:
    """By path: size in bytes, time in nanoseconds and SHA-256 of an unpacked file; nothing while none is unpacked."""
    try:
        files = json.loads(path.read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    folder = path.with_suffix("")
    return {f"{folder}{os.sep}{name}": entry for name, entry in _entries(files).items()}


def _entries(found) -> dict[str, list]:
    """Those of JSON that are as they were written: by path size, time and digest."""
    known = found.items() if isinstance(found, dict) else ()
    return {
        path: entry
        for path, entry in known
        if isinstance(entry, list) and list(map(type, entry)) == [int, int, str] and SHA256.fullmatch(entry[2])
    }


def _ids(path: Path) -> list[str]:
    try:
        return [identifier for _, identifier in listed_ids(path)]
    except UserError:  # which its stage will tell
        return []


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        (_, header), *rows = table_rows(table)
    except UserError:  # which its stage will tell
        return []
    return [dict(zip(header, cells, strict=False)) for _, cells in rows]


class _Known:
    """Digests of files whose size and time are unchanged since they were hashed."""

    def __init__(self, path: Path, unpacked: Iterable[dict[str, list]] = ()):
        self.path = path
        self.unpacked = {name: entry for files in unpacked for name, entry in files.items()}
        try:
            self.entries = _entries(json.loads(path.read_text()))
        except (OSError, ValueError, RecursionError):
            self.entries = {}
        self.changed = False

    def digest(self, path: str) -> str:
        try:
            status = os.stat(path)
        except (OSError, ValueError):  # the latter for a null character in a name
            return "missing"
        key = [status.st_size, status.st_mtime_ns]
        entry = self.unpacked.get(path)
        if entry and entry[:2] == key:
            return entry[2]
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
