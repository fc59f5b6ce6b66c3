"""Digests of the user's own files, which Snakemake cannot watch one by one.

Contents decide, not dates: a file is hashed again only when its size or time changed, so a touched photograph makes
nothing stale and a replaced one does. The digests found are kept in `results/{dataset}/.sources.json`.
"""

import csv
import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workflow_scripts.config import datasets


def digest(name: str, dataset: datasets.Dataset, what: str, folder: str | None = None) -> str:
    """Digest of the files behind `what`: images (with labels and lists), truth, or saliency (in `folder`)."""
    if isinstance(dataset, datasets.SyntheticDataset) and what != "saliency":
        return ""
    return digest_of(name, sorted({str(path) for path in _files(dataset, what, folder)}))


def digest_of(name: str, paths: list[str]) -> str:
    """Digest of the files' names and contents; a missing file has a digest too, its stage will name it."""
    known = _Known(Path("results") / name / ".sources.json")
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(known.digest, paths))
    known.save()
    total = hashlib.sha256()
    for path, value in zip(paths, digests, strict=True):
        total.update(f"{path}\0{value}\n".encode())
    return total.hexdigest()[:32]


def image_files(dataset: datasets.Dataset) -> Iterator[tuple[str, Path]]:
    """Ids and image paths as the lists or the table name them, unchecked: `index` is what checks them."""
    if isinstance(dataset, datasets.VocDataset):
        for split in dataset.splits.values():
            for line in _lines(Path(dataset.root) / split.ids) if split.ids else []:
                identifier = Path(line.split()[0]).stem
                yield identifier, Path(dataset.root) / dataset.images / f"{identifier}.jpg"
    elif isinstance(dataset, datasets.CsvDataset):
        table = Path(dataset.table)
        for row in _rows(table):
            yield row.get("id") or "", table.parent / (row.get("image") or "")


def _files(dataset: datasets.Dataset, what: str, folder: str | None) -> Iterator[Path]:
    if what == "saliency":
        yield from Path(folder).glob("*.png")
    elif isinstance(dataset, datasets.VocDataset):
        root = Path(dataset.root)
        if what == "truth":
            yield from (root / dataset.masks / f"{identifier}.png" for identifier, _ in image_files(dataset))
            return
        yield from (root / split.ids for split in dataset.splits.values() if split.ids)
        for identifier, image in image_files(dataset):
            yield image
            yield root / dataset.annotations / f"{identifier}.xml"
    elif isinstance(dataset, datasets.CsvDataset):
        table = Path(dataset.table)
        yield table
        if what == "truth":
            yield from (table.parent / row["mask"] for row in _rows(table) if row.get("mask"))
        else:
            yield from (image for _, image in image_files(dataset))


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        return []


def _rows(path: Path) -> list[dict]:
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            return list(csv.DictReader(file))
    except (OSError, csv.Error):
        return []


class _Known:
    """Digests of files whose size and time are unchanged since they were hashed."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.entries = json.loads(path.read_text())
        except (OSError, ValueError):
            self.entries = {}
        self.changed = False

    def digest(self, path: str) -> str:
        try:
            status = os.stat(path)
        except OSError:
            return "missing"
        key = [status.st_size, status.st_mtime_ns]
        entry = self.entries.get(path)
        if entry and entry[:2] == key:
            return entry[2]
        try:
            with open(path, "rb") as file:
                value = hashlib.file_digest(file, "sha256").hexdigest()
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
