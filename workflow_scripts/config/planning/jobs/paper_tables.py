"""Jobs of the papers' tables, and of the measures that only these have: boundaries and confusion ratios.

What a cell needs and is not there, a file of weights or a split, is known when a run is planned: the cell stays empty,
what is missing stands in its row, and all other rows are made.
"""

from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import instance_systems, systems
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.needs import of_block
from workflow_scripts.config.planning.outputs import of_seeds, output_path
from workflow_scripts.config.planning.registry import Job, job, on_request
from workflow_scripts.config.planning.tunings import behind
from workflow_scripts.config.types import blocks
from workflow_scripts.config.types import paper_tables as table_blocks


class Missing(Exception):
    """Why a cell cannot be measured."""


@job("paper_table")
def paper_table(plan: Context, dataset: str, table: str) -> Job:
    block, names = plan.block(dataset, "tables", table), plan.config.lineage(dataset)
    columns = block.named_columns()
    named: dict = next((block.systems[name] for name in names if name in block.systems), {})
    rows = []
    inputs: dict[str, list[str]] = {"scores": [], "tables": []}
    for method, *cells in block.rows:
        for place, item in enumerate(named.get(method, ()) or (None,)):
            systems = item if isinstance(item, dict) else {} if item is None else dict.fromkeys(columns, item)
            row: dict = {"method": method, "place": place, "printed": cells, "cells": [], "missing": []}
            row["systems"] = list(dict.fromkeys(systems[name] for name in columns if name in systems))
            for name, column in columns.items():
                cell = None
                try:
                    if column != "text" and name in systems:
                        cell = _cell(plan, dataset, block, column, systems[name])
                        inputs["tables" if "file" in cell else "scores"] += cell.get("scores", [cell.get("file")])
                except Missing as missing:
                    row["missing"].append(str(missing))
                row["cells"].append(cell)
            row["missing"] = list(dict.fromkeys(row["missing"]))
            rows.append(row)
    settings = {
        "dataset": dataset,
        "table": table,
        "title": block.title,
        "source": block.source,
        "of": block.dataset,
        "columns": [[name, getattr(column, "measure", "text")] for name, column in columns.items()],
        "rows": rows,
    }
    return Job({name: list(dict.fromkeys(paths)) for name, paths in inputs.items()}, settings)


@job("all_paper_tables")
def all_paper_tables(plan: Context, dataset: str) -> Job:
    names = _named(plan, dataset)
    if not names:
        raise UserError(f"config: tables: none names systems of data set {dataset!r}; name them under systems")
    return Job({"tables": [output_path("paper_table", "text", dataset=dataset, table=name) for name in names]}, {})


@job("boundaries")
def boundaries(plan: Context, dataset: str, seed: str, mask: str) -> Job:
    sbd = getattr(plan.dataset(dataset), "sbd", None)
    job = _measure(plan, dataset, seed, mask, needs_truth=sbd is None)
    settings = job.settings | {"sbd": sbd, "tolerances": _tolerances(plan, dataset)}
    if sbd is None:
        return Job(job.inputs, settings)
    return Job(job.inputs, settings | {"sources": plan.digest(dataset, "contours")}, ("data.readers.sbd",))


@job("boundary_table")
def boundary_table(plan: Context, dataset: str) -> Job:
    return _measures(plan, dataset, "boundaries")


@job("confusion_ratios")
def confusion_ratios(plan: Context, dataset: str, seed: str, mask: str) -> Job:
    data, pairs = plan.dataset(dataset), _pairs(plan, dataset)
    if not _knows_backgrounds(plan, dataset):
        raise UserError(
            f"config: datasets.{dataset}: no true backgrounds are known that come with one of its classes; name a folder in "
            "context, and under tables a column of measure confusion_ratio"
        )
    job = _measure(plan, dataset, seed, mask, needs_truth=True)
    settings = {"kind": data.kind, "context": None, "pairs": pairs} | data.told("backgrounds")
    settings |= {} if data.rendered else {"sources": plan.digest(dataset, "backgrounds")}
    return Job(job.inputs, job.settings | settings, data.modules("backgrounds"))


@job("confusion_table")
def confusion_table(plan: Context, dataset: str) -> Job:
    return _measures(plan, dataset, "confusion_ratios")


def _named(plan: Context, dataset: str) -> list[str]:
    """Tables that name systems of a data set, or of one that it is based on."""
    names = plan.config.lineage(dataset)
    every = {name: plan.block(dataset, "tables", name) for name in plan.config.names(dataset, "tables")}
    return sorted(name for name, block in every.items() if block.systems.keys() & set(names))


def _knows_backgrounds(plan: Context, dataset: str) -> bool:
    """Whether there are true backgrounds that tables ask for."""
    return plan.dataset(dataset).lacks("backgrounds") is None and bool(_pairs(plan, dataset))


def _tolerances(plan: Context, dataset: str) -> list[float]:
    """At which tables ask for boundaries."""
    return sorted({column.tolerance for column in _columns(plan, dataset, table_blocks.BoundaryColumn)})


def _measure(plan: Context, dataset: str, seed: str, mask: str, needs_truth: bool) -> Job:
    variant = plan.config.variant(dataset, "masks", mask)
    inputs = {
        "index": plan.index(dataset),
        "masks": output_path("masks", dataset=dataset, seed=seed, mask=mask),
        "truth": output_path("truth", dataset=dataset) if needs_truth else [],
    }
    split = variant.splits[0] if variant else plan.dataset(dataset).use.masks
    return Job(inputs, {"dataset": dataset, "split": split})


def _measures(plan: Context, dataset: str, stage: str) -> Job:
    """A table of one measure of the masks of the data set's systems."""
    data, rows = plan.dataset(dataset), []
    for system in data.systems:
        if mask := plan.block(dataset, "systems", system).mask:
            scores = of_seeds(stage, data.seeds, dataset=dataset, mask=mask)
            rows.append({"system": system, "mask": mask, "scores": scores})
    return Job({"scores": list(dict.fromkeys(path for row in rows for path in row["scores"]))}, {"rows": rows})


def _columns(plan: Context, dataset: str, kind: type) -> Iterator:
    for name in plan.config.names(dataset, "tables"):
        columns = plan.block(dataset, "tables", name).named_columns().values()
        yield from (column for column in columns if isinstance(column, kind))


def _pairs(plan: Context, dataset: str) -> list[dict[str, str]]:
    """Classes of the data set and backgrounds that come with them."""
    classes, pairs = plan.dataset(dataset).classes, {}
    for column in _columns(plan, dataset, table_blocks.ConfusionColumn):
        name = _context_name(plan, dataset, column)
        if name and column.of in classes:
            pairs[column.of, name] = {"of": column.of, "context": name}
    return [pairs[key] for key in sorted(pairs)]


def _context_name(plan: Context, dataset: str, column: table_blocks.ConfusionColumn) -> str | None:
    return next((column.context[name] for name in plan.config.lineage(dataset) if name in column.context), None)


def _cell(plan: Context, dataset: str, table: table_blocks.Table, column, system: str) -> dict:
    """The files that a cell is read from and what to read there."""
    if isinstance(column, table_blocks.CostColumn):
        return _cost_cell(plan, dataset, column, system)
    if isinstance(column, table_blocks.MaskApColumn):
        return _mask_ap_cell(plan, dataset, column, system)
    if isinstance(column, table_blocks.MiouColumn):
        return _miou_cell(plan, dataset, table, column, system)
    mask, split = _scored_mask(plan, dataset, table, None, system)
    _refuse_missing(plan, dataset, "masks", mask)
    stage = "boundaries" if isinstance(column, table_blocks.BoundaryColumn) else "confusion_ratios"
    if stage == "boundaries":
        if getattr(plan.dataset(dataset), "sbd", None) is None:
            _refuse_unlabelled(plan, dataset, split)
        more: dict = {"value": column.value, "tolerance": f"{column.tolerance:g}"}
    else:
        more = {"of": column.of, "context": _context_of(plan, dataset, column)}
        mask = mask.partition("@")[0]
        _refuse_unlabelled(plan, dataset, plan.dataset(dataset).use.masks)
    seeds = plan.dataset(dataset).seeds
    return {"scores": of_seeds(stage, seeds, dataset=dataset, mask=mask)} | more


def _context_of(plan: Context, dataset: str, column: table_blocks.ConfusionColumn) -> str:
    data, name = plan.dataset(dataset), _context_name(plan, dataset, column)
    if name is None or column.of not in data.classes:
        raise Missing(f"background {name or next(iter(column.context.values()))}")
    if data.lacks("backgrounds"):
        raise Missing("true backgrounds")
    for place in data.places("backgrounds"):
        if not Path(place.path).exists():
            raise Missing(place.path)
    return name


def _cost_cell(plan: Context, dataset: str, column: table_blocks.CostColumn, system: str) -> dict:
    block = plan.block(dataset, "systems", system)
    ends = [("masks", block.mask)] if block.mask else [("cams", block.cam)]
    ends += [("segmenters", block.segmenter)] if block.segmenter else []
    for end in ends:
        _refuse_missing(plan, dataset, *end)
    return {"file": output_path("cost_system", dataset=dataset, system=system), "value": column.value}


def _mask_ap_cell(plan: Context, dataset: str, column: table_blocks.MaskApColumn, system: str) -> dict:
    block = plan.block(dataset, "instance_systems", system)
    rows = instance_systems.rows(plan.config, dataset, system)
    fitting = [row for row in rows if row["stage"] == column.stage]
    if not fitting:
        raise Missing(f"{column.stage} of system {system}")
    _refuse_missing(plan, dataset, "instances", block.instances)
    if column.stage == "detections":
        _refuse_missing(plan, dataset, "instance_networks", block.network)
    return {"scores": fitting[0]["scores"], "split": fitting[0]["split"], "value": column.value}


def _miou_cell(plan: Context, dataset: str, table: table_blocks.Table, column, system: str) -> dict:
    data, block = plan.dataset(dataset), plan.block(dataset, "systems", system)
    cell: dict = {"labelled": column.stage == "mask_labelled", "of": None}
    if column.of is not None:
        if column.of not in data.classes:
            raise Missing(f"class {column.of}")
        cell["of"] = list(data.classes).index(column.of) + 1
    seeds, names = data.seeds, {"dataset": dataset}
    if column.stage == "cam":
        cam = block.cam or systems.maps_of(plan.config, dataset, block.mask)
        if cam is None:
            raise Missing(f"maps of system {system}")
        _refuse_missing(plan, dataset, "cams", cam)
        stage, split, names = "score_cams", data.use.masks, names | {"cam": cam}
    elif column.stage.startswith("mask"):
        mask, split = _scored_mask(plan, dataset, table, column.split, system)
        _refuse_missing(plan, dataset, "masks", mask)
        stage, names = "score_masks", names | {"mask": mask}
    else:
        stage, seeds = "score_predictions", data.segmentation_seeds or data.seeds
        names |= _predicted(plan, dataset, column, system)
        split = column.split or data.use.evaluation[0]
        if split not in data.use.evaluation:
            raise Missing(f"split {split}")
    _refuse_unlabelled(plan, dataset, split)
    return {"scores": of_seeds(stage, seeds, **names), "split": split} | cell


def _scored_mask(
    plan: Context, dataset: str, table: table_blocks.Table, split: str | None, system: str
) -> tuple[str, str]:
    """The mask of a system for the split that a column asks for, and that split."""
    data, mask = plan.dataset(dataset), plan.block(dataset, "systems", system).mask
    if mask is None:
        raise Missing(f"masks of system {system}")
    named = next((table.splits[name] for name in plan.config.lineage(dataset) if name in table.splits), None)
    split = split or named or data.use.masks
    if split not in data.splits:
        raise Missing(f"split {split}")
    return (mask if split == data.use.masks else f"{mask}@{split}"), split


def _predicted(plan: Context, dataset: str, column: table_blocks.MiouColumn, system: str) -> dict[str, str]:
    """The prediction of a system that a column asks for; its segmenter's masks are made for the training split."""
    data, block = plan.dataset(dataset), plan.block(dataset, "systems", system)
    with_crf = column.stage == "segmentation_crf"
    fitting = [
        name
        for name in block.predictions
        if isinstance(plan.block(dataset, "predictions", name), blocks.CrfPrediction) == with_crf
    ]
    prediction = column.prediction or (fitting[-1] if fitting else None)
    if block.segmenter is None or prediction is None:
        raise Missing(f"{'segmentation with CRF' if with_crf else 'segmentation'} of system {system}")
    _refuse_missing(plan, dataset, "masks", block.mask)
    _refuse_missing(plan, dataset, "segmenters", block.segmenter)
    seeds = data.segmentation_seeds or data.seeds
    trained = plan.block(dataset, "segmenters", block.segmenter).trained is not None
    made = trained or all(data.use.train in plan.mask_splits(dataset, str(seed), block.mask) for seed in seeds)
    mask = block.mask if made else f"{block.mask}@{data.use.train}"
    return {"mask": mask, "segmenter": block.segmenter, "prediction": prediction}


def _refuse_unlabelled(plan: Context, dataset: str, split: str) -> None:
    data = plan.dataset(dataset)
    if not data.has_truth() or not data.labelled(split) or split not in plan.truth_splits(dataset):
        raise Missing(f"truth of split {split}")


def _refuse_missing(plan: Context, dataset: str, kind: str, name: str) -> None:
    """Files of the user's that the block, or one behind it, names and that are not there."""
    needs = (
        need for item in behind(plan.config, dataset, kind, name) for need in of_block(plan.config, dataset, *item)
    )
    absent = [f"package {need.path}" if need.what == "package" else need.path for need in needs if need.blocks]
    if absent:
        raise Missing("; ".join(dict.fromkeys(absent)))


@on_request
def _requested(plan: Context, dataset: str) -> list[str]:
    """Every table, all of them in one text where any names the data set, and the tables of the measures that they have."""
    some = {
        "all_paper_tables": _named(plan, dataset),
        "boundary_table": _tolerances(plan, dataset),
        "confusion_table": _knows_backgrounds(plan, dataset),
    }
    tables = [output_path("paper_table", dataset=dataset, table=name) for name in plan.config.names(dataset, "tables")]
    return [*tables, *(output_path(stage, dataset=dataset) for stage in some if some[stage])]
