"""Check every image, label and box of a data set once, and write the list that all later stages trust."""

import hashlib
from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.checks import summary, write_findings
from workflow_scripts.data.index import write_index
from workflow_scripts.data.index_entries import Entry, Faults
from workflow_scripts.data.suspicions import suspect_entries
from workflow_scripts.run.command import Job, plain, run
from workflow_scripts.store.artifacts import Reader

# Decides which images a held-out part of a split gets; any fixed value serves.
SHUFFLE_SEED = 0


def main(job: Job) -> None:
    settings = job.settings
    splits = plain(settings.splits)
    sources = {name: split["ids"] for name, split in splits.items() if split["ids"] is not None}
    faults, oriented = Faults(), getattr(settings, "orientation", "shown") == "shown"
    if settings.kind == "synthetic":
        members, entries = _rendered(job.inputs.images, [name for name, split in splits.items() if split["images"]])
    elif settings.kind == "voc":
        members, entries = plugin("data.kinds", "voc").read_voc(
            Path(settings.root),
            settings.classes,
            _voc_sources(settings, splits),
            settings.images,
            settings.annotations,
            settings.limit,
            _tell,
            faults,
            oriented,
            threads=job.workers,
        )
    elif settings.kind == "coco":
        folders = {name: (split["ids"], split["folder"]) for name, split in splits.items() if split["ids"] is not None}
        members, entries = plugin("data.kinds", "coco").read_coco(
            Path(settings.root),
            settings.classes,
            folders,
            settings.limit,
            _tell,
            faults,
            oriented,
            settings.unannotated == "negatives",
            threads=job.workers,
        )
    else:
        members, entries = plugin("data.kinds", "csv_table").read_csv(
            Path(settings.table),
            settings.classes,
            sources,
            settings.limit,
            _tell,
            faults,
            oriented,
            threads=job.workers,
        )
    for name in settings.split_order:
        members[name] = members.get(name) or _part(name, splits[name], members)
    if not settings.limit:
        _check_counts(settings.dataset, splits, members)
    listed = [name for name, split in splits.items() if split["of"] is None and split["labelled"]]
    suspect_entries(entries, {name: members[name] for name in listed}, settings.classes, faults)
    write_index(job.outputs.index, settings.dataset, settings.classes, entries, members, oriented)
    write_findings(job.outputs.findings, faults.findings)
    for line in summary(faults.findings):
        print(line)
    sizes = ", ".join(f"{name} {len(ids)}" for name, ids in members.items())
    print(f"{settings.dataset}: {len(entries)} images; {sizes}")


def _voc_sources(settings, splits: dict[str, dict]) -> dict:
    make, sources = plugin("data.kinds", "voc").Source, {}
    for name, split in splits.items():
        if split["ids"] is not None:
            root = Path(split["root"] or settings.root)
            lists = [root / split["ids"], *(Path(settings.sbd) / path for path in split["sbd"])]
            sources[name] = make(tuple(lists), root, split["labelled"])
    return sources


def _check_counts(dataset: str, splits: dict[str, dict], members: dict[str, list[str]]) -> None:
    wrong = [
        f"{name} has {len(members[name])}, expected {split['count']}"
        for name, split in splits.items()
        if split["count"] not in (None, len(members[name]))
    ]
    if wrong:
        raise UserError(
            f"{dataset}: images of splits: {'; '.join(wrong)}; unpack the whole data set, or take `count` off the splits"
        )


def _part(name: str, split: dict, members: dict[str, list[str]]) -> list[str]:
    """Ids of a split that is made from others: in a fixed shuffled order when only the first so many are asked for."""
    without = set(members[split["without"]]) if split["without"] else set()
    ids = [identifier for identifier in members[split["of"]] if identifier not in without]
    if split["first"]:
        order = np.random.default_rng(SHUFFLE_SEED).permutation(len(ids))[: split["first"]]
        ids = [ids[position] for position in sorted(order)]
    if not ids:
        raise UserError(
            f"config: splits.{name}: empty, as nothing of {split['of']!r} is left; choose other splits or a larger limit"
        )
    return ids


def _rendered(path: str, names: list[str]) -> tuple[dict[str, list[str]], list[Entry]]:
    reader = Reader(path, "images")
    members: dict[str, list[str]] = {name: [] for name in names}
    entries = []
    for identifier in reader.ids:
        scene = reader.read(identifier)
        members[identifier.rsplit("_", 1)[0]].append(identifier)
        height, width = scene["image"].shape[:2]
        digest = hashlib.sha256(scene["image"].tobytes()).hexdigest()
        labels = tuple(int(label) for label in scene["labels"])
        entries.append(Entry(identifier, "", height, width, digest, labels, scene["boxes"].reshape(-1, 5)))
    return members, entries


def _tell(done: int, total: int) -> None:
    if done % 2000 == 0 or done == total:
        print(f"index: {done}/{total} images", flush=True)


if __name__ == "__main__":
    run(main, inputs=("images",), lists=("archives",), outputs=("index", "findings"))
