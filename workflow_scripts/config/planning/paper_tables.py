"""Jobs of the papers' tables, and of the measures that only these have: boundaries, confusion ratios, cost of one system.

What a cell needs and is not there, a file of weights or a split, is known when a run is planned: the cell stays empty,
what is missing stands in its row, and all other rows are made.
"""

from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import instance_systems
from workflow_scripts.config.planning.jobs import Job
from workflow_scripts.config.planning.needs import of_block
from workflow_scripts.config.planning.outputs import OUTPUTS, output_path
from workflow_scripts.config.planning.requested import AllJobs
from workflow_scripts.config.planning.sources import has_truth
from workflow_scripts.config.planning.tunings import behind
from workflow_scripts.config.types import blocks, datasets
from workflow_scripts.config.types import paper_tables as table_blocks


class Missing(Exception):
    """Why a cell cannot be measured."""


class TableJobs(AllJobs):
    """All jobs; `plan.Plan` asks for them by the names of stages."""

    def table(self, dataset: str, table: str) -> Job:
        block, names = self.config.block(dataset, "tables", table), self.config.lineage(dataset)
        columns = block.named_columns()
        named: dict = next((block.systems[name] for name in names if name in block.systems), {})
        rows, inputs = [], {"scores": [], "tables": []}
        for method, *cells in block.rows:
            for place, item in enumerate(named.get(method, ()) or (None,)):
                systems = item if isinstance(item, dict) else {} if item is None else dict.fromkeys(columns, item)
                row: dict = {"method": method, "place": place, "printed": cells, "cells": [], "missing": []}
                row["systems"] = list(dict.fromkeys(systems[name] for name in columns if name in systems))
                for name, column in columns.items():
                    cell = None
                    try:
                        if column != "text" and name in systems:
                            cell = self._cell(dataset, block, column, systems[name])
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

    def tables(self, dataset: str) -> Job:
        names = self.tables_of(dataset)
        if not names:
            raise UserError(f"config: tables: none names systems of data set {dataset!r}; name them under systems")
        return Job({"tables": [output_path("table", "text", dataset=dataset, table=name) for name in names]}, {})

    def tables_of(self, dataset: str) -> list[str]:
        """Tables that name systems of a data set, or of one that it is based on."""
        names = self.config.lineage(dataset)
        every = {name: self.config.block(dataset, "tables", name) for name in self.config.names(dataset, "tables")}
        return sorted(name for name, block in every.items() if block.systems.keys() & set(names))

    def boundaries(self, dataset: str, seed: str, mask: str) -> Job:
        sbd = getattr(self._dataset(dataset), "sbd", None)
        job = self._measure(dataset, seed, mask, needs_truth=sbd is None)
        settings = job.settings | {"sbd": sbd, "tolerances": self.tolerances(dataset)}
        if sbd is None:
            return Job(job.inputs, settings)
        return Job(job.inputs, settings | {"sources": self._digest(dataset, "contours")}, ("data.kinds.sbd_contours",))

    def boundary_table(self, dataset: str) -> Job:
        return self._measures(dataset, "boundaries")

    def confusion_ratios(self, dataset: str, seed: str, mask: str) -> Job:
        data, pairs = self._dataset(dataset), self._pairs(dataset)
        if not self.knows_backgrounds(dataset):
            raise UserError(
                f"config: datasets.{dataset}: no true backgrounds are known that come with one of its classes; name a folder in "
                "context, and under tables a column of measure confusion_ratio"
            )
        job = self._measure(dataset, seed, mask, needs_truth=True)
        context = getattr(data, "context", None)
        module = "data.kinds.pascal_context" if context else "data.synthetic.synthetic"
        settings = {"kind": data.kind, "context": context, "pairs": pairs}
        settings |= {"sources": self._digest(dataset, "context")} if context else {}
        return Job(job.inputs, job.settings | settings, (module,))

    def confusion_table(self, dataset: str) -> Job:
        return self._measures(dataset, "confusion_ratios")

    def knows_backgrounds(self, dataset: str) -> bool:
        """Whether there are true backgrounds that tables ask for."""
        data = self._dataset(dataset)
        known = isinstance(data, datasets.SyntheticDataset) or getattr(data, "context", None) is not None
        return known and bool(self._pairs(dataset))

    def cost_system(self, dataset: str, system: str) -> Job:
        return self._cost(dataset, [system])

    # Shared parts

    def _measure(self, dataset: str, seed: str, mask: str, needs_truth: bool) -> Job:
        variant = self.config.variant(dataset, "masks", mask)
        inputs = {
            "index": self._index_path(dataset),
            "masks": output_path("masks", dataset=dataset, seed=seed, mask=mask),
            "truth": output_path("truth", dataset=dataset) if needs_truth else [],
        }
        split = variant.splits[0] if variant else self._dataset(dataset).use.masks
        return Job(inputs, {"dataset": dataset, "split": split})

    def _measures(self, dataset: str, stage: str) -> Job:
        """A table of one measure of the masks of the data set's systems."""
        data, rows = self._dataset(dataset), []
        for system in data.systems:
            if mask := self.config.block(dataset, "systems", system).mask:
                names = {"dataset": dataset, "mask": mask}
                scores = [output_path(stage, seed=str(seed), **names) for seed in data.seeds]
                rows.append({"system": system, "mask": mask, "scores": scores})
        return Job({"scores": list(dict.fromkeys(path for row in rows for path in row["scores"]))}, {"rows": rows})

    def _columns(self, dataset: str, kind: type) -> Iterator:
        for name in self.config.names(dataset, "tables"):
            columns = self.config.block(dataset, "tables", name).named_columns().values()
            yield from (column for column in columns if isinstance(column, kind))

    def tolerances(self, dataset: str) -> list[float]:
        """At which tables ask for boundaries."""
        return sorted({column.tolerance for column in self._columns(dataset, table_blocks.BoundaryColumn)})

    def _pairs(self, dataset: str) -> list[dict[str, str]]:
        """Classes of the data set and backgrounds that come with them."""
        classes, pairs = self._dataset(dataset).classes, {}
        for column in self._columns(dataset, table_blocks.ConfusionColumn):
            name = self._context_name(dataset, column)
            if name and column.of in classes:
                pairs[column.of, name] = {"of": column.of, "context": name}
        return [pairs[key] for key in sorted(pairs)]

    def _context_name(self, dataset: str, column: table_blocks.ConfusionColumn) -> str | None:
        return next((column.context[name] for name in self.config.lineage(dataset) if name in column.context), None)

    # Cells

    def _cell(self, dataset: str, table: table_blocks.Table, column, system: str) -> dict:
        """The files that a cell is read from and what to read there."""
        if isinstance(column, table_blocks.CostColumn):
            return self._cost_cell(dataset, column, system)
        if isinstance(column, table_blocks.MaskApColumn):
            return self._mask_ap_cell(dataset, column, system)
        if isinstance(column, table_blocks.MiouColumn):
            return self._miou_cell(dataset, table, column, system)
        mask, split = self._scored_mask(dataset, table, None, system)
        self._refuse_missing(dataset, "masks", mask)
        stage = "boundaries" if isinstance(column, table_blocks.BoundaryColumn) else "confusion_ratios"
        if stage == "boundaries":
            if getattr(self._dataset(dataset), "sbd", None) is None:
                self._refuse_unlabelled(dataset, split)
            more: dict = {"value": column.value, "tolerance": f"{column.tolerance:g}"}
        else:
            more = {"of": column.of, "context": self._context_of(dataset, column)}
            mask = mask.partition("@")[0]
            self._refuse_unlabelled(dataset, self._dataset(dataset).use.masks)
        seeds = self._dataset(dataset).seeds
        return {"scores": [output_path(stage, dataset=dataset, seed=str(s), mask=mask) for s in seeds]} | more

    def _context_of(self, dataset: str, column: table_blocks.ConfusionColumn) -> str:
        data, name = self._dataset(dataset), self._context_name(dataset, column)
        if name is None or column.of not in data.classes:
            raise Missing(f"background {name or next(iter(column.context.values()))}")
        folder = getattr(data, "context", None)
        if not isinstance(data, datasets.SyntheticDataset) and not (folder and Path(folder).is_dir()):
            raise Missing(folder or "true backgrounds")
        return name

    def _cost_cell(self, dataset: str, column: table_blocks.CostColumn, system: str) -> dict:
        block = self.config.block(dataset, "systems", system)
        ends = [("masks", block.mask)] if block.mask else [("cams", block.cam)]
        ends += [("segmenters", block.segmenter)] if block.segmenter else []
        for end in ends:
            self._refuse_missing(dataset, *end)
        return {"file": output_path("cost_system", dataset=dataset, system=system), "value": column.value}

    def _mask_ap_cell(self, dataset: str, column: table_blocks.MaskApColumn, system: str) -> dict:
        block = self.config.block(dataset, "instance_systems", system)
        rows = instance_systems.rows(self.config, dataset, system)
        fitting = [row for row in rows if row["stage"] == column.stage]
        if not fitting:
            raise Missing(f"{column.stage} of system {system}")
        self._refuse_missing(dataset, "instances", block.instances)
        if column.stage == "detections":
            self._refuse_missing(dataset, "instance_networks", block.network)
        return {"scores": fitting[0]["scores"], "split": fitting[0]["split"], "value": column.value}

    def _miou_cell(self, dataset: str, table: table_blocks.Table, column, system: str) -> dict:
        data, block = self._dataset(dataset), self.config.block(dataset, "systems", system)
        cell: dict = {"labelled": column.stage == "mask_labelled", "of": None}
        if column.of is not None:
            if column.of not in data.classes:
                raise Missing(f"class {column.of}")
            cell["of"] = list(data.classes).index(column.of) + 1
        seeds, names = data.seeds, {"dataset": dataset}
        if column.stage == "cam":
            cam = block.cam or getattr(self.config.block(dataset, "masks", block.mask), "cam", None)
            if cam is None:
                raise Missing(f"maps of system {system}")
            self._refuse_missing(dataset, "cams", cam)
            stage, split, names = "score_cams", data.use.masks, names | {"cam": cam}
        elif column.stage.startswith("mask"):
            mask, split = self._scored_mask(dataset, table, column.split, system)
            self._refuse_missing(dataset, "masks", mask)
            stage, names = "score_masks", names | {"mask": mask}
        else:
            stage, seeds = "score_predictions", data.segmentation_seeds or data.seeds
            names |= self._predicted(dataset, column, system)
            split = column.split or data.use.evaluation[0]
            if split not in data.use.evaluation:
                raise Missing(f"split {split}")
        self._refuse_unlabelled(dataset, split)
        paths = [OUTPUTS[stage]["scores"].format(**names, seed=seed) for seed in seeds]
        return {"scores": paths, "split": split} | cell

    def _scored_mask(self, dataset: str, table: table_blocks.Table, split: str | None, system: str) -> tuple[str, str]:
        """The mask of a system for the split that a column asks for, and that split."""
        data, mask = self._dataset(dataset), self.config.block(dataset, "systems", system).mask
        if mask is None:
            raise Missing(f"masks of system {system}")
        named = next((table.splits[name] for name in self.config.lineage(dataset) if name in table.splits), None)
        split = split or named or data.use.masks
        if split not in data.splits:
            raise Missing(f"split {split}")
        return (mask if split == data.use.masks else f"{mask}@{split}"), split

    def _predicted(self, dataset: str, column: table_blocks.MiouColumn, system: str) -> dict[str, str]:
        """The prediction of a system that a column asks for; its segmenter's masks are made for the training split."""
        data, block = self._dataset(dataset), self.config.block(dataset, "systems", system)
        with_crf = column.stage == "segmentation_crf"
        fitting = [
            name
            for name in block.predictions
            if isinstance(self.config.block(dataset, "predictions", name), blocks.CrfPrediction) == with_crf
        ]
        prediction = column.prediction or (fitting[-1] if fitting else None)
        if block.segmenter is None or prediction is None:
            raise Missing(f"{'segmentation with CRF' if with_crf else 'segmentation'} of system {system}")
        self._refuse_missing(dataset, "masks", block.mask)
        self._refuse_missing(dataset, "segmenters", block.segmenter)
        seeds = data.segmentation_seeds or data.seeds
        trained = self.config.block(dataset, "segmenters", block.segmenter).trained is not None
        made = trained or all(data.use.train in self._mask_splits(dataset, str(seed), block.mask) for seed in seeds)
        mask = block.mask if made else f"{block.mask}@{data.use.train}"
        return {"mask": mask, "segmenter": block.segmenter, "prediction": prediction}

    def _refuse_unlabelled(self, dataset: str, split: str) -> None:
        data = self._dataset(dataset)
        if not has_truth(data) or not data.labelled(split) or split not in self._truth_splits(dataset):
            raise Missing(f"truth of split {split}")

    def _refuse_missing(self, dataset: str, kind: str, name: str) -> None:
        """Files of the user's that the block, or one behind it, names and that are not there."""
        needs = (
            need for item in behind(self.config, dataset, kind, name) for need in of_block(self.config, dataset, *item)
        )
        absent = [f"package {need.path}" if need.what == "package" else need.path for need in needs if need.blocks]
        if absent:
            raise Missing("; ".join(dict.fromkeys(absent)))
