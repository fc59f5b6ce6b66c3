"""Check every image, label and box of a data set once, and write the list that all later stages trust."""

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.plugins import plugin
from workflow_scripts.data.checks import summary, write_findings
from workflow_scripts.data.index import write_index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.data.suspicions import suspect_entries
from workflow_scripts.run.command import Job, plain, run

# Decides which images a held-out part of a split gets; any fixed value serves.
SHUFFLE_SEED = 0


def main(job: Job) -> None:
    settings = job.settings
    splits = plain(settings.splits)
    faults, oriented = Faults(), getattr(settings, "orientation", "shown") == "shown"
    checking = {
        "limit": settings.limit,
        "progress": _tell,
        "faults": faults,
        "oriented": oriented,
        "threads": job.workers,
    }
    members, entries = plugin("data.kinds", settings.kind).index(settings, job.inputs.images, **checking)
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


def _tell(done: int, total: int) -> None:
    if done % 2000 == 0 or done == total:
        print(f"index: {done}/{total} images", flush=True)


if __name__ == "__main__":
    run(main, inputs=("images",), lists=("archives",), outputs=("index", "findings"))
