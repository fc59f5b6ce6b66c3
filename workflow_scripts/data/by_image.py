"""Artifacts that a function of one image makes: in one job, or in shards of the images that one job puts together."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from workflow_scripts.base.errors import UserError
from workflow_scripts.base.progress import progress
from workflow_scripts.base.stopping import check
from workflow_scripts.data.index import Index
from workflow_scripts.data.index_entries import Faults
from workflow_scripts.run.command import Job, fingerprint
from workflow_scripts.run.parallel import ordered_map
from workflow_scripts.store.artifacts import Reader, create
from workflow_scripts.store.provenance import check_bytes, read_sidecar

SHARD = re.compile(r"(\d+)-of-(\d+)")


def store(
    job: Job,
    schema: str,
    index: Index,
    splits: Sequence[str] | None,
    make_state: Callable[[Job], Any],
    function: Callable[[Any, str], dict | str],
    workers: int = 1,
) -> None:
    """Write what a function makes of each image, in order; the bytes depend on neither workers nor shards.

    Args:
        job: its one output is the artifact or the job's shard of it.
        splits: whose images; None for all.
        make_state: of a worker, as `parallel.ordered_map`.
        function: from the state and an id to the arrays of that image, or to the line that says what is wrong with it.

    Raises:
        UserError: the lines of all images together.
    """
    ((output, path),) = vars(job.outputs).items()
    ids, faults = part_of(index.ids if splits is None else index.split(*splits), job.shard), Faults()
    split = "all" if splits is None else "+".join(splits)
    results = (
        _gathered(job, schema, ids) if job.shards else ordered_map(partial(make_state, job), function, ids, workers)
    )
    with create(path, schema, dataset=job.settings.dataset, split=split, classes=index.classes) as artifact:
        for identifier, arrays in progress(zip(ids, results, strict=True), len(ids), output):
            if isinstance(arrays, str):
                faults.add(arrays)
            else:
                artifact.put(identifier, **arrays)
            check()
        faults.raise_if_any(f"{output} of {job.settings.dataset}")
    if job.shard is None:
        remove_shards(path, kept=job.shards)  # those that are declared Snakemake removes


def part_of(ids: Sequence[str], shard: str | None) -> Sequence[str]:
    """The ids of a shard "2-of-4", equally many neighbours but for one; all where it is None."""
    if shard is None:
        return ids
    match = SHARD.fullmatch(shard)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {shard}: expected as 2-of-4")
    number, count = int(match[1]), int(match[2])
    return ids[(number - 1) * len(ids) // count : number * len(ids) // count]


def remove_shards(path: str | Path, kept: Sequence[str] = ()) -> None:
    """Remove shards of an artifact that an interrupted run with another number of them has left."""
    path = Path(path)
    spared = {Path(name).name for shard in kept for name in (shard, f"{shard}.json")}
    for left in path.parent.glob("*-of-*"):
        rest = left.name.removeprefix(f"{path.name}.").removesuffix(".json")
        if left.name.startswith(f"{path.name}.") and SHARD.fullmatch(rest) and left.name not in spared:
            left.unlink(missing_ok=True)


def _gathered(job: Job, schema: str, ids: Sequence[str]) -> Iterator[dict]:
    """The arrays of the shards, image by image."""
    place = 0
    for shard in job.shards:
        record = read_sidecar(shard)
        plain = json.dumps(record["settings"], sort_keys=True, separators=(",", ":")) if record else ""
        if record is None or fingerprint(plain, record["code"], record["parents"]) != job.fingerprint:
            raise UserError(f"{shard}: is no shard of this job; delete it and run again")
        check_bytes(shard)
        reader = Reader(shard, schema, job.settings.dataset)
        for _ in range(reader.attributes["images"]):
            yield reader.read(ids[place])
            place += 1
