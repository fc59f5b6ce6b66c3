"""Digests of the user's own files, which Snakemake cannot watch one by one.

Contents decide, not dates: a file is hashed again only when its size or time changed, so a touched photograph makes
nothing stale and a replaced one does. The digests found are kept in `results/{dataset}/.sources.json`.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workflow_scripts.config import datasets
from workflow_scripts.digests import file_sha256
from workflow_scripts.errors import UserError
from workflow_scripts.listings import listed_ids, table_rows


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


def has_truth(dataset: datasets.Dataset) -> bool:
    """Whether there are truth masks: rendered, in the folder `masks`, or of some row in the column `mask`."""
    if isinstance(dataset, datasets.CsvDataset):
        return any(row.get("mask") for row in _rows(Path(dataset.table)))
    return not isinstance(dataset, datasets.VocDataset) or dataset.masks is not None


def _files(dataset: datasets.Dataset, what: str, folder: str | None) -> Iterator[Path]:
    """Files as the lists or the table name them, unchecked: stages are what checks them."""
    if what == "saliency":
        yield from Path(folder).glob("*.png")
    elif isinstance(dataset, datasets.VocDataset):
        root = Path(dataset.root)
        lists = [root / split.ids for split in dataset.splits.values() if split.ids]
        ids = [identifier for path in lists for identifier in _ids(path)]
        if what == "truth":
            yield from (root / dataset.masks / f"{identifier}.png" for identifier in ids)
            return
        yield from lists
        for identifier in ids:
            yield root / dataset.images / f"{identifier}.jpg"
            yield root / dataset.annotations / f"{identifier}.xml"
    elif isinstance(dataset, datasets.CsvDataset):
        table, column = Path(dataset.table), "mask" if what == "truth" else "image"
        yield table
        yield from (table.parent / row[column] for row in _rows(table) if row.get(column))


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
        except (OSError, ValueError):  # the latter for a null character in a name
            return "missing"
        key = [status.st_size, status.st_mtime_ns]
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
