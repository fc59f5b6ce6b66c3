"""The DAG: for every stage, what it reads, the settings it runs under and the modules that its block names.

One function a stage, called with the wildcards of the rule of the same name. Rules, `verify` and the table all ask
here, so that there is one answer. Nothing is computed and no file of results is opened.
"""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from workflow_scripts.config import blocks, datasets, sources, systems
from workflow_scripts.config.fingerprint import canonical, code_digest, fingerprint
from workflow_scripts.config.outputs import OUTPUTS
from workflow_scripts.config.parts import nearest
from workflow_scripts.config.resolve import Config, order_splits
from workflow_scripts.errors import UserError


@dataclass(frozen=True)
class Job:
    """Inputs by name, settings (plain values) and the modules looked up by name, all of one job."""

    inputs: dict[str, str | list[str]] = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    modules: tuple[str, ...] = ()


class Plan:
    def __init__(self, config: Config):
        self.config = config
        self._jobs: dict[tuple, Job] = {}
        self._sources: dict[tuple, str] = {}

    # What rules ask for

    def job(self, stage: str, wildcards: Mapping[str, str]) -> Job:
        method = getattr(self, f"_{stage}")
        names = {name: str(wildcards[name]) for name in inspect.signature(method).parameters}
        key = (stage, *names.values())
        if key not in self._jobs:
            self._jobs[key] = method(**names)
        return self._jobs[key]

    def settings(self, stage: str, wildcards: Mapping[str, str]) -> str:
        return canonical(self.job(stage, wildcards).settings)

    def modules(self, stage: str, wildcards: Mapping[str, str]) -> list[str]:
        module = "scores" if stage.startswith("score_") else stage
        return [f"stages.{module}", *self.job(stage, wildcards).modules]

    def code(self, stage: str, wildcards: Mapping[str, str]) -> str:
        return code_digest(self.modules(stage, wildcards))

    def fingerprint(self, stage: str, wildcards: Mapping[str, str]) -> str:
        return fingerprint(self.settings(stage, wildcards), self.code(stage, wildcards))

    def outputs(self, stage: str, wildcards: Mapping[str, str]) -> dict[str, str]:
        return {name: pattern.format(**wildcards) for name, pattern in OUTPUTS[stage].items()}

    def jobs(self, dataset: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Every job behind a data set's table and pictures, each once, inputs before users."""
        seen: dict[tuple, None] = {}
        producers = {}
        for stage, wildcards in self._all(dataset):
            for path in self.outputs(stage, wildcards).values():
                producers[path] = (stage, wildcards)

        def visit(path: str) -> None:
            if path not in producers:
                return
            stage, wildcards = producers[path]
            key = (stage, tuple(sorted(wildcards.items())))
            if key in seen:
                return
            for value in self.job(stage, wildcards).inputs.values():
                for item in [value] if isinstance(value, str) else value:
                    visit(item)
            seen[key] = None

        for path in self.targets(dataset):
            visit(path)
        for stage, items in seen:
            yield stage, dict(items)

    def targets(self, dataset: str) -> list[str]:
        """The table and the pictures."""
        return [OUTPUTS["miou"]["miou"].format(dataset=dataset), *self.pictures(dataset)]

    def pictures(self, dataset: str) -> list[str]:
        names = self.config.dataset(dataset).systems
        montages = [OUTPUTS["montage"]["montage"].format(dataset=dataset, system=name) for name in names]
        return [*(path.format(dataset=dataset) for path in OUTPUTS["curves"].values()), *montages]

    # Stages

    def _render(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        counts = {name: split.images for name, split in data.splits.items() if split.images}
        if data.limit:
            counts = {name: min(count, data.limit) for name, count in counts.items()}
        settings = {"dataset": dataset, "seed": data.seed, "images": counts, "classes": list(data.classes)}
        return Job({}, settings, ("data.synthetic",))

    def _index(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        splits = {name: data.splits[name].model_dump() for name in order_splits(data.splits, f"datasets.{dataset}")}
        settings = {
            "dataset": dataset,
            "kind": data.kind,
            "classes": list(data.classes),
            "splits": splits,
            "limit": data.limit,
        }
        settings["split_order"] = list(splits)
        modules: tuple[str, ...] = ()
        if isinstance(data, datasets.VocDataset):
            settings |= {"root": data.root, "images": data.images, "annotations": data.annotations}
            modules = ("data.voc",)
        elif isinstance(data, datasets.CsvDataset):
            settings |= {"table": data.table}
            modules = ("data.csv_table",)
        settings["sources"] = self._digest(dataset, "images")
        return Job({"images": self._images(dataset)}, settings, modules)

    def _truth(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        settings = {"dataset": dataset, "kind": data.kind, "classes": list(data.classes)}
        masks = (self.config.block(dataset, "systems", system).mask for system in data.systems)
        learns = any(mask and isinstance(self.config.block(dataset, "masks", mask), blocks.TruthMask) for mask in masks)
        more = {data.use.thresholds, data.use.train if learns else None}
        settings["splits"] = sorted({data.use.masks, *data.use.evaluation, *more} - {None})
        inputs: dict = {"index": self._index_path(dataset), "rendered": []}
        modules: tuple[str, ...] = ()
        if isinstance(data, datasets.SyntheticDataset):
            inputs["rendered"] = OUTPUTS["render"]["truth"].format(dataset=dataset)
        elif isinstance(data, datasets.VocDataset):
            if data.masks is None:
                raise UserError(
                    f"config: datasets.{dataset}.masks is null: there is no truth to read; drop what is scored"
                )
            settings |= {"root": data.root, "masks": data.masks}
            modules = ("data.voc",)
        else:
            settings |= {"table": data.table}
            modules = ("data.csv_table",)
        settings["sources"] = self._digest(dataset, "truth")
        return Job(inputs, settings, modules)

    def _train_saliency(self, dataset: str, saliency: str) -> Job:
        block = self.config.block(dataset, "saliency", saliency)
        if not isinstance(block, blocks.NetworkSaliency):
            raise UserError(f"config: saliency.{saliency}: detector {block.detector!r} is not trained")
        return Job(
            {}, {"block": block.model_dump(), "threads": self._dataset(dataset).torch_threads}, ("networks.saliency",)
        )

    def _saliency(self, dataset: str, saliency: str) -> Job:
        block = self.config.block(dataset, "saliency", saliency)
        inputs: dict = {"index": self._index_path(dataset), "images": self._images(dataset), "weights": []}
        settings: dict = {"dataset": dataset, "detector": block.detector}
        if isinstance(block, blocks.FolderSaliency):
            settings |= {"path": block.path, "sources": self._digest(dataset, "saliency", block.path)}
            return Job(inputs, settings)
        inputs["weights"] = OUTPUTS["train_saliency"]["weights"].format(dataset=dataset, saliency=saliency)
        return Job(inputs, settings, ("segmentation.saliency",))

    def _train_classifier(self, dataset: str, seed: str, classifier: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "classifiers", classifier)
        inputs = {
            "index": self._index_path(dataset),
            "images": self._images(dataset),
            "saliency": self._saliency_path(dataset, block),
        }
        settings = {"block": block.model_dump(exclude={"saliency"}), "seed": int(seed)} | self._training(dataset, data)
        settings["initial_digest"] = self._initial(dataset, block.initial)
        settings["split"] = data.use.train
        if isinstance(block, blocks.EpsClassifier):
            for name in block.options.predefined_background:
                if block.options.selection == "predefined" and name not in data.classes:
                    raise UserError(
                        f"config: classifiers.{classifier}.options.predefined_background: data set {dataset!r} has no class "
                        f"{name!r}, {nearest(name, data.classes)}"
                    )
        return Job(inputs, settings, (f"methods.{block.method}", f"networks.{block.backbone.name}"))

    def _classification(self, dataset: str, seed: str, classifier: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "classifiers", classifier)
        inputs = self._with_classifier(dataset, seed, classifier)
        settings = {"dataset": dataset, "split": data.use.evaluation[0] if data.use.evaluation else data.use.masks}
        settings |= {"classifier": _network(block), "batch": 1}
        return Job(inputs, settings, (f"methods.{block.method}", f"networks.{block.backbone.name}"))

    def _cams(self, dataset: str, seed: str, cam: str) -> Job:
        block = self.config.block(dataset, "cams", cam)
        classifier = self.config.block(dataset, "classifiers", block.classifier)
        settings = {
            "dataset": dataset,
            "block": block.model_dump(exclude={"classifier"}),
            "classifier": _network(classifier),
        }
        settings["splits"] = self._cam_splits(dataset, seed, cam)
        inputs = self._with_classifier(dataset, seed, block.classifier)
        return Job(inputs, settings, (f"methods.{classifier.method}", f"networks.{classifier.backbone.name}"))

    def _thresholds(self, dataset: str, seed: str, cam: str) -> Job:
        data = self._dataset(dataset)
        inputs = {
            "index": self._index_path(dataset),
            "truth": OUTPUTS["truth"]["truth"].format(dataset=dataset),
            "cams": OUTPUTS["cams"]["cams"].format(dataset=dataset, seed=seed, cam=cam),
        }
        return Job(inputs, {"dataset": dataset, "split": data.use.thresholds})

    def _affinity_labels(self, dataset: str, seed: str, affinity: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "affinities", affinity)
        cams = OUTPUTS["cams"]["cams"].format(dataset=dataset, seed=seed, cam=block.cam)
        inputs = {"index": self._index_path(dataset), "images": self._images(dataset), "cams": cams}
        settings = {
            "dataset": dataset,
            "split": data.use.affinity or data.use.train,
            "network": block.network,
            "labels": block.labels.model_dump(),
        }
        return Job(inputs, settings | {"cell": block.backbone.stride}, (f"refine.{block.network}",))

    def _train_affinity(self, dataset: str, seed: str, affinity: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "affinities", affinity)
        labels = OUTPUTS["affinity_labels"]["labels"].format(dataset=dataset, seed=seed, affinity=affinity)
        inputs = {"index": self._index_path(dataset), "images": self._images(dataset), "labels": labels}
        inputs["initial"] = self._initial_path(dataset, seed, block.initial)
        settings = {"block": block.model_dump(exclude={"cam", "labels"}), "seed": int(seed)} | self._training(
            dataset, data
        )
        split = data.use.affinity or data.use.train
        settings |= {"split": split, "initial_digest": self._initial(dataset, block.initial)}
        return Job(inputs, settings, (f"refine.{block.network}", f"networks.{block.backbone.name}"))

    def _masks(self, dataset: str, seed: str, mask: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "masks", mask)
        settings: dict = {"dataset": dataset, "splits": self._mask_splits(dataset, seed, mask=mask)}
        settings["block"] = block.model_dump(exclude={"cam"}, exclude_none=True)
        inputs: dict = {
            "index": self._index_path(dataset),
            "images": [],
            "cams": [],
            "thresholds": [],
            "truth": [],
            "affinity": [],
        }
        if isinstance(block, blocks.TruthMask):
            inputs["truth"] = OUTPUTS["truth"]["truth"].format(dataset=dataset)
            return Job(inputs, settings)
        inputs["cams"] = OUTPUTS["cams"]["cams"].format(dataset=dataset, seed=seed, cam=block.cam)
        if isinstance(block, blocks.ConstantMask) and isinstance(block.threshold, blocks.HeldOutThreshold):
            if data.use.thresholds is None:
                raise UserError(
                    f"config: masks.{mask}.threshold: data set {dataset!r} has no split for it in use.thresholds"
                )
            inputs["thresholds"] = OUTPUTS["thresholds"]["thresholds"].format(dataset=dataset, seed=seed, cam=block.cam)
        modules = ["refine.background", *(["refine.dense_crf"] if block.crf else [])]
        if isinstance(block, blocks.RandomWalkMask | blocks.EdgeWalkMask):
            affinity = self.config.block(dataset, "affinities", block.affinity)
            weights = OUTPUTS["train_affinity"]["weights"].format(dataset=dataset, seed=seed, affinity=block.affinity)
            inputs |= {"affinity": weights, "images": self._images(dataset)}
            settings["block"] = block.model_dump(exclude={"cam", "affinity"}, exclude_none=True)
            settings["affinity"] = affinity.model_dump(exclude={"cam", "labels", "initial", "recipe"})
            modules += [f"refine.{block.rule}_mask", f"refine.{affinity.network}", f"networks.{affinity.backbone.name}"]
        if block.crf:
            inputs["images"] = self._images(dataset)
        return Job(inputs, settings, tuple(modules))

    def _train_segmenter(self, dataset: str, seed: str, mask: str, segmenter: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "segmenters", segmenter)
        if data.use.train not in self._mask_splits(dataset, seed, mask=mask):
            raise UserError(
                f"config: datasets.{dataset}: no system trains a segmenter on masks {mask!r} with seed {seed}; "
                "give one of its systems a segmenter and predictions"
            )
        inputs = {
            "index": self._index_path(dataset),
            "images": self._images(dataset),
            "masks": OUTPUTS["masks"]["masks"].format(dataset=dataset, seed=seed, mask=mask),
        }
        settings = {"block": block.model_dump(), "seed": int(seed), "split": data.use.train} | self._training(
            dataset, data
        )
        inputs["initial"] = self._initial_path(dataset, seed, block.initial)
        settings["initial_digest"] = self._initial(dataset, block.initial)
        return Job(inputs, settings, (f"segmentation.{block.network}", f"networks.{block.backbone.name}"))

    def _predictions(self, dataset: str, seed: str, mask: str, segmenter: str, prediction: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "predictions", prediction)
        chain = {"dataset": dataset, "seed": seed, "mask": mask, "segmenter": segmenter}
        inputs: dict = {"index": self._index_path(dataset), "images": self._images(dataset), "weights": [], "soft": []}
        settings: dict = {"dataset": dataset, "splits": list(data.use.evaluation)}
        if isinstance(block, blocks.CrfPrediction):
            inputs["soft"] = OUTPUTS["predictions"]["predictions"].format(**chain, prediction=block.prediction)
            settings["block"] = block.model_dump(exclude={"prediction"})
            return Job(inputs, settings, ("refine.background", "refine.dense_crf"))
        network = self.config.block(dataset, "segmenters", segmenter)
        inputs["weights"] = OUTPUTS["train_segmenter"]["weights"].format(**chain)
        settings |= {"block": block.model_dump(), "segmenter": network.model_dump(exclude={"recipe", "initial"})}
        modules = ("segmentation.inference", f"segmentation.{network.network}", f"networks.{network.backbone.name}")
        return Job(inputs, settings, modules)

    def _score_saliency(self, dataset: str, saliency: str) -> Job:
        path = OUTPUTS["saliency"]["saliency"].format(dataset=dataset, saliency=saliency)
        return self._scores(dataset, "saliency", path, [self._dataset(dataset).use.masks])

    def _score_cams(self, dataset: str, seed: str, cam: str) -> Job:
        data = self._dataset(dataset)
        job = self._scores(
            dataset, "cam", OUTPUTS["cams"]["cams"].format(dataset=dataset, seed=seed, cam=cam), [data.use.masks]
        )
        if data.use.thresholds is not None:
            job.inputs["thresholds"] = OUTPUTS["thresholds"]["thresholds"].format(dataset=dataset, seed=seed, cam=cam)
        else:
            job.settings["threshold"] = data.threshold
        return Job(job.inputs, job.settings, (*job.modules, "refine.background"))

    def _score_masks(self, dataset: str, seed: str, mask: str) -> Job:
        path = OUTPUTS["masks"]["masks"].format(dataset=dataset, seed=seed, mask=mask)
        return self._scores(dataset, "mask", path, [self._dataset(dataset).use.masks])

    def _score_predictions(self, dataset: str, seed: str, mask: str, segmenter: str, prediction: str) -> Job:
        names = {"dataset": dataset, "seed": seed, "mask": mask, "segmenter": segmenter, "prediction": prediction}
        path = OUTPUTS["predictions"]["predictions"].format(**names)
        job = self._scores(dataset, "prediction", path, list(self._dataset(dataset).use.evaluation))
        soft = isinstance(self.config.block(dataset, "predictions", prediction), blocks.NetworkPrediction)
        return Job(job.inputs, job.settings, (*job.modules, *(("refine.background",) if soft else ())))

    def _scores(self, dataset: str, schema: str, artifact: str, splits: list[str]) -> Job:
        inputs: dict = {"index": self._index_path(dataset), "artifact": artifact, "thresholds": []}
        inputs["truth"] = OUTPUTS["truth"]["truth"].format(dataset=dataset)
        measure = "evaluation.saliency" if schema == "saliency" else "evaluation.miou"
        return Job(inputs, {"dataset": dataset, "schema": schema, "splits": splits}, (measure,))

    def _miou(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        rows = [row for system in data.systems for row in systems.rows(self.config, dataset, system)]
        others = systems.given(self.config, dataset)
        inputs = [path for row in rows for path in row["scores"]] + [path for row in others for path in row["scores"]]
        settings = {"dataset": dataset, "classes": list(data.classes), "rows": rows, "inputs": others}
        return Job({"scores": list(dict.fromkeys(inputs))}, settings)

    def _montage(self, dataset: str, system: str) -> Job:
        data = self._dataset(dataset)
        chain = systems.chain(self.config, dataset, system)
        columns, paths = [], []
        for stage, wildcards in chain:
            if stage in {"saliency", "cams", "masks", "predictions"}:
                paths.append(next(iter(self.outputs(stage, wildcards).values())))
                columns.append(
                    [
                        stage,
                        {"saliency": "saliency", "cams": "cam", "masks": "mask", "predictions": "prediction"}[stage],
                    ]
                )
        truth = OUTPUTS["truth"]["truth"].format(dataset=dataset)
        inputs = {
            "index": self._index_path(dataset),
            "images": self._images(dataset),
            "truth": truth,
            "artifacts": paths,
        }
        settings = {"dataset": dataset, "system": system, "columns": columns, "images": data.montage}
        predicts = any(stage == "predictions" for stage, _ in chain)
        settings["splits"] = [data.use.masks, *(data.use.evaluation[:1] if predicts else ())]
        return Job(inputs, settings)

    def _curves(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        curves: dict[str, str] = {}
        sweeps: dict[str, str] = {}
        for system in data.systems:
            for stage, names in systems.chain(self.config, dataset, system):
                if stage.startswith("train_"):
                    parts = (f"{key} {value}" for key, value in names.items() if key != "dataset")
                    curves[self.outputs(stage, names)["curve"]] = ", ".join(parts)
                if stage == "cams" and data.use.thresholds is not None:
                    for seed in data.seeds:
                        path = OUTPUTS["thresholds"]["thresholds"].format(dataset=dataset, seed=seed, cam=names["cam"])
                        sweeps[path] = names["cam"]
        return Job(
            {"curves": list(curves), "sweeps": list(sweeps)},
            {"curves": [*curves.values()], "sweeps": [*sweeps.values()]},
        )

    # Shared parts

    def _all(self, dataset: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Every job that the configuration can name for a data set (not only those that its systems need)."""
        data = self._dataset(dataset)
        base = {"dataset": dataset}
        names = {kind: self.config.names(dataset, kind) for kind in blocks.KINDS}
        yield from ((stage, base) for stage in ("render", "index", "truth", "miou", "curves"))
        yield from (("montage", {**base, "system": system}) for system in data.systems)
        for saliency in names["saliency"]:
            yield from (
                (stage, {**base, "saliency": saliency}) for stage in ("train_saliency", "saliency", "score_saliency")
            )
        for seed in map(str, data.seeds):
            seeded = {**base, "seed": seed}
            for classifier in names["classifiers"]:
                yield from (
                    (stage, {**seeded, "classifier": classifier}) for stage in ("train_classifier", "classification")
                )
            for cam in names["cams"]:
                yield from ((stage, {**seeded, "cam": cam}) for stage in ("cams", "thresholds", "score_cams"))
            for affinity in names["affinities"]:
                yield from (
                    (stage, {**seeded, "affinity": affinity}) for stage in ("affinity_labels", "train_affinity")
                )
            for mask in names["masks"]:
                yield from ((stage, {**seeded, "mask": mask}) for stage in ("masks", "score_masks"))
                for segmenter in names["segmenters"]:
                    trained = {**seeded, "mask": mask, "segmenter": segmenter}
                    yield "train_segmenter", trained
                    for prediction in names["predictions"]:
                        yield from (
                            (stage, {**trained, "prediction": prediction})
                            for stage in ("predictions", "score_predictions")
                        )

    def _dataset(self, dataset: str) -> datasets.Dataset:
        return self.config.dataset(dataset)

    def _cam_splits(self, dataset: str, seed: str, cam: str) -> list[str]:
        """Splits that maps are made for: those of masks, where thresholds are chosen, what an affinity network learns."""
        use, names = self._dataset(dataset).use, self._dataset(dataset).systems
        affinities = (name for system in names if (name := systems.affinity(self.config, dataset, system)))
        learns = any(self.config.block(dataset, "affinities", name).cam == cam for name in affinities)
        more = {use.thresholds, (use.affinity or use.train) if learns else None}
        return sorted({*self._mask_splits(dataset, seed, cam=cam), *more} - {None})

    def _mask_splits(self, dataset: str, seed: str, **block: str) -> list[str]:
        """Splits that masks are made for: what is scored, and the training split where a segmenter learns from it.

        Args:
            block: the kind and the name of the maps or masks; those that no system names may be for any use.
        """
        data = self._dataset(dataset)
        users = [
            self.config.block(dataset, "systems", system)
            for system in data.systems
            if any(block.items() <= names.items() for _, names in systems.chain(self.config, dataset, system))
        ]
        trains = int(seed) in (data.segmentation_seeds or data.seeds)
        trains = trains and (not users or any(system.segmenter for system in users))
        return sorted({data.use.masks, *({data.use.train} if trains else ())})

    def _digest(self, dataset: str, what: str, folder: str | None = None) -> str:
        key = (dataset, what, folder)
        if key not in self._sources:
            self._sources[key] = sources.digest(dataset, self._dataset(dataset), what, folder)
        return self._sources[key]

    def _initial_path(self, dataset: str, seed: str, initial: str | blocks.FromClassifier) -> str | list[str]:
        """Weights of the classifier that a network starts from; files of the user's are watched by their digest."""
        if not isinstance(initial, blocks.FromClassifier):
            return []
        return OUTPUTS["train_classifier"]["weights"].format(dataset=dataset, seed=seed, classifier=initial.classifier)

    def _initial(self, dataset: str, initial: str | blocks.FromClassifier) -> str | None:
        """Digest of the file of initial weights; those that torchvision downloads have its own checksum."""
        if isinstance(initial, blocks.FromClassifier) or initial in {"random", "imagenet"}:
            return None
        key = (dataset, "initial", initial)
        if key not in self._sources:
            self._sources[key] = sources.digest_of(dataset, [initial])
        return self._sources[key]

    def _index_path(self, dataset: str) -> str:
        return OUTPUTS["index"]["index"].format(dataset=dataset)

    def _images(self, dataset: str) -> str | list[str]:
        """Rendered images are an artifact; those of other kinds are watched by their digests in the index."""
        if isinstance(self._dataset(dataset), datasets.SyntheticDataset):
            return OUTPUTS["render"]["images"].format(dataset=dataset)
        return []

    def _saliency_path(self, dataset: str, block) -> str | list[str]:
        saliency = getattr(block, "saliency", None)
        return OUTPUTS["saliency"]["saliency"].format(dataset=dataset, saliency=saliency) if saliency else []

    def _with_classifier(self, dataset: str, seed: str, classifier: str) -> dict:
        weights = OUTPUTS["train_classifier"]["weights"].format(dataset=dataset, seed=seed, classifier=classifier)
        return {"index": self._index_path(dataset), "images": self._images(dataset), "weights": weights}

    def _training(self, dataset: str, data: datasets.Dataset) -> dict:
        return {"dataset": dataset, "classes": list(data.classes), "threads": data.torch_threads}


def _network(block: blocks.Classifier) -> dict:
    """What of a classifier's block is needed to build its network again."""
    return block.model_dump(include={"method", "backbone", "options"})
