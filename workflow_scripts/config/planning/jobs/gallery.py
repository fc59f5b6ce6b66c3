"""The job of the gallery: the artifacts of the stages of chosen systems, each a column of it."""

import hashlib
from typing import Any

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.base.errors import UserError
from workflow_scripts.config.fingerprint import ROOT
from workflow_scripts.config.planning import systems
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.jobs.doubt import tables
from workflow_scripts.config.planning.outputs import BLOCKS, DOUBTED, SHOWN, output_path
from workflow_scripts.config.planning.registry import Job, job, on_request
from workflow_scripts.config.types import datasets
from workflow_scripts.config.types.parts import nearest

PAGE = ROOT / "look" / "gallery" / "page"  # the files of the page, which are code but no Python


@job("gallery")
def gallery(plan: Context, dataset: str) -> Job:
    data = plan.dataset(dataset)
    block = data.gallery
    if block is None:
        raise UserError(
            f"config: datasets.{dataset}.gallery: missing; say what it shows, as 'gallery: {{images: 200, side: 500}}'"
        )
    columns, splits = _columns(plan, dataset, block), _splits(plan, dataset, block)
    maps = [column for column in columns if column["stage"] == "cams"]
    truth = plan.truth(dataset)
    thresholds = [column["names"] for column in maps] if truth and data.use.thresholds else []
    doubts = _doubts(plan, dataset, block, columns)
    inputs = {
        "index": plan.index(dataset),
        "images": plan.images(dataset),
        "truth": truth,
        "artifacts": [output_path(column["stage"], **column["names"]) for column in columns],
        "thresholds": [output_path("thresholds", **names) for names in thresholds],
        "doubts": doubts,
    }
    for column in columns:
        del column["names"]
    settings = {"dataset": dataset, "columns": columns, "splits": splits, "images": block.images}
    settings |= {"side": block.side, "threshold": data.threshold, "page": page_digest()}
    return Job(inputs, settings)


def page_digest() -> str:
    """Digest of the names and contents of the page's own files."""
    files = sorted(path for path in PAGE.iterdir() if path.is_file())
    return hashlib.sha256("".join(f"{path.name}:{file_sha256(path)}\n" for path in files).encode()).hexdigest()[:32]


def _columns(plan: Context, dataset: str, block: datasets.Gallery) -> list[dict]:
    """Artifacts of the systems, those of one stage side by side, each once; `systems` names whose it is."""
    found: dict[tuple, dict] = {}
    for system in block.systems or plan.dataset(dataset).systems:
        for stage, names in systems.chain(plan.config, dataset, system):
            if stage not in SHOWN:
                continue
            name = "/".join(name for wildcard, name in names.items() if wildcard not in {"dataset", "seed"})
            column: dict[str, Any] = {
                "stage": stage,
                "schema": SHOWN[stage],
                "name": name,
                "names": names,
                "systems": [],
            }
            column["refined"] = _is_refined(plan, dataset, stage, names)
            found.setdefault((stage, name), column)["systems"].append(system)
    return sorted(found.values(), key=lambda column: list(SHOWN).index(column["stage"]))


def _doubts(plan: Context, dataset: str, block: datasets.Gallery, columns: list[dict]) -> list[str]:
    """Tables of doubt; each column that one of them speaks of is told which, and which column of it."""
    masks = [plan.block(dataset, "systems", system).mask for system in block.systems or plan.dataset(dataset).systems]
    seed = systems.first_names(plan.config, dataset, None)["seed"]
    found = tables(plan, dataset, seed, dict.fromkeys(filter(None, masks))) if block.doubt else {}
    for column in columns:
        path = output_path(column["stage"], **column["names"])
        spoken = [number for number, job in enumerate(found.values()) if path in job.inputs.values()]
        column["doubt"] = [spoken[0], DOUBTED[column["stage"]]] if spoken else None
    return [*found]


def _is_refined(plan: Context, dataset: str, stage: str, names: dict[str, str]) -> bool:
    """Whether a CRF or a walk has refined a mask or a prediction."""
    if stage not in {"masks", "predictions"}:
        return False
    block = plan.block(dataset, stage, names[BLOCKS[stage][1]])
    return bool(getattr(block, "crf", None) or getattr(block, "affinity", None))


def _splits(plan: Context, dataset: str, block: datasets.Gallery) -> list[str]:
    data = plan.dataset(dataset)
    for split in block.splits or ():
        if split not in data.splits:
            raise UserError(
                f"config: datasets.{dataset}.gallery.splits: no split {split!r}, {nearest(split, data.splits)}"
            )
    return list(dict.fromkeys(block.splits or (data.use.masks, *data.use.predicted())))


@on_request
def _requested(plan: Context, dataset: str) -> list[str]:
    return [output_path("gallery", dataset=dataset)] if plan.dataset(dataset).gallery else []
