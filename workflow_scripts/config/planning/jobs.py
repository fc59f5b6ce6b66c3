"""What every stage reads, the settings it runs under and the modules that its block names.

One function a stage, called with the wildcards of the rule of the same name. Nothing is computed and no file of
results is opened.
"""

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import sources, systems
from workflow_scripts.config.planning.box_jobs import BoxJobs
from workflow_scripts.config.planning.data_jobs import Job
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.types import affinity_blocks, blocks, box_blocks, datasets, mask_blocks
from workflow_scripts.config.types.parts import nearest
from workflow_scripts.config.types.transformers import check_cam


class StageJobs(BoxJobs):
    """The jobs of one configuration; `plan.Plan` asks for them by the names of stages."""

    def train_classifier(self, dataset: str, seed: str, classifier: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "classifiers", classifier)
        inputs = {
            "index": self._index_path(dataset),
            "images": self._images(dataset),
            "saliency": self._saliency_path(dataset, block),
            "initial": self._initial_path(dataset, seed, block.initial),
        }
        modules = (f"methods.{block.method}", *network_modules(block))
        if block.trained:
            return self._imported(dataset, block, inputs, modules)
        if hasattr(block.recipe, "area"):
            modules += ("data.samples.area_samples",)
        settings = {"block": block.model_dump(exclude={"saliency", "trained"}), "seed": int(seed)}
        settings |= self._training(dataset, data)
        settings["initial_digest"] = self._initial(dataset, block.initial)
        settings |= {"split": data.use.train, "boxes": block.learns_from_boxes}
        for key, names in block.class_names().items():
            for name in names:
                if name not in data.classes:
                    raise UserError(
                        f"config: classifiers.{classifier}.{key}: data set {dataset!r} has no class {name!r}, "
                        f"{nearest(name, data.classes)}"
                    )
        return Job(inputs, settings, (*modules, *(["data.samples.box_samples"] if block.learns_from_boxes else [])))

    def classification(self, dataset: str, seed: str, classifier: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "classifiers", classifier)
        inputs = self._with_classifier(dataset, seed, classifier)
        settings = {"dataset": dataset, "split": (*data.scored_evaluation(), data.use.masks)[0]}
        settings |= {"classifier": _network(block)}
        return Job(inputs, settings, (f"methods.{block.method}", *network_modules(block)))

    def cams(self, dataset: str, seed: str, cam: str) -> Job:
        block = self.config.block(dataset, "cams", cam)
        classifier = self.config.block(dataset, "classifiers", block.classifier)
        settings = {
            "dataset": dataset,
            "block": block.model_dump(exclude={"classifier"}),
            "classifier": _network(classifier),
        }
        settings["splits"] = self._cam_splits(dataset, seed, cam)
        inputs = self._with_classifier(dataset, seed, block.classifier)
        modules = [f"methods.{classifier.method}", *network_modules(classifier)]
        check_cam(f"config: cams.{cam}", block, classifier)
        if block.merge == "max":
            modules.append("methods.cam")
        if block.attention and block.attention.modulation:
            modules.append("methods.semantic_modulation")
        return Job(inputs, settings, tuple(dict.fromkeys(modules)))

    def thresholds(self, dataset: str, seed: str, cam: str) -> Job:
        data = self._dataset(dataset)
        inputs = {
            "index": self._index_path(dataset),
            "truth": output_path("truth", dataset=dataset),
            "cams": output_path("cams", dataset=dataset, seed=seed, cam=cam),
        }
        return Job(inputs, {"dataset": dataset, "split": data.use.thresholds})

    def affinity_labels(self, dataset: str, seed: str, affinity: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "affinities", affinity)
        cams = output_path("cams", dataset=dataset, seed=seed, cam=block.cam)
        inputs = {"index": self._index_path(dataset), "images": self._images(dataset), "cams": cams}
        settings = {
            "dataset": dataset,
            "split": data.use.affinity or data.use.train,
            "network": block.network,
            "labels": block.labels.model_dump(),
        }
        if isinstance(block, affinity_blocks.AffinityNet):
            settings["labels"]["cell"] = block.backbone.stride
        return Job(inputs, settings, (f"refine.{block.network}_label",))

    def train_affinity(self, dataset: str, seed: str, affinity: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "affinities", affinity)
        labels = output_path("affinity_labels", dataset=dataset, seed=seed, affinity=affinity)
        inputs = {"index": self._index_path(dataset), "images": self._images(dataset), "labels": labels}
        inputs["initial"] = self._initial_path(dataset, seed, block.initial)
        modules = (f"refine.{block.network}", f"data.samples.{block.network}_samples", f"networks.{block.backbone.name}")
        if block.trained:
            return self._imported(dataset, block, inputs, modules)
        settings = {
            "block": block.model_dump(exclude={"cam", "labels", "precision", "trained"}),
            "seed": int(seed),
        } | self._training(dataset, data)
        split = data.use.affinity or data.use.train
        settings |= {"split": split, "initial_digest": self._initial(dataset, block.initial)}
        return Job(inputs, settings, modules)

    def masks(self, dataset: str, seed: str, mask: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "masks", mask)
        settings: dict = {"dataset": dataset, "splits": self._mask_splits(dataset, seed, mask)}
        settings["block"] = block.model_dump(exclude={"cam", "saliency"}, exclude_none=True)
        inputs: dict = {
            "index": self._index_path(dataset),
            "images": [],
            "cams": [],
            "thresholds": [],
            "truth": [],
            "saliency": self._saliency_path(dataset, block),
            "affinity": [],
            "classifier": [],
            "masks": [],
        }
        if isinstance(block, mask_blocks.TruthMask):
            inputs["truth"] = output_path("truth", dataset=dataset)
            return Job(inputs, settings)
        if isinstance(block, mask_blocks.FolderMask):
            settings["block"] = block.model_dump(exclude={"otherwise"})
            settings["sources"] = self._masks_digest(dataset, block.path)
            if block.otherwise:
                inputs["masks"] = output_path("masks", dataset=dataset, seed=seed, mask=block.otherwise)
            return Job(inputs, settings, ("data.readers.mask_folder",))
        if isinstance(block, box_blocks.DERIVED_RULES):
            return self._derived_masks(dataset, seed, mask, Job(inputs, settings))
        if isinstance(block, box_blocks.BOX_RULES):
            return self._box_masks(dataset, seed, block, Job(inputs, settings))
        inputs["cams"] = output_path("cams", dataset=dataset, seed=seed, cam=block.cam)
        if isinstance(getattr(block, "threshold", None), mask_blocks.HeldOutThreshold):
            if data.use.thresholds is None:
                raise UserError(
                    f"config: masks.{mask}.threshold: data set {dataset!r} has no split for it in use.thresholds"
                )
            inputs["thresholds"] = output_path("thresholds", dataset=dataset, seed=seed, cam=block.cam)
        modules = [f"refine.{block.rule}_mask", *(["refine.dense_crf"] if block.crf else [])]
        if isinstance(block, mask_blocks.RandomWalkMask | mask_blocks.EdgeWalkMask):
            affinity = self.config.block(dataset, "affinities", block.affinity)
            weights = output_path("train_affinity", dataset=dataset, seed=seed, affinity=block.affinity)
            inputs |= {"affinity": weights, "images": self._images(dataset)}
            settings["block"] = block.model_dump(exclude={"cam", "affinity"}, exclude_none=True)
            settings["affinity"] = affinity.model_dump(exclude={"cam", "labels", "initial", "recipe", "trained"})
            modules += [f"refine.{affinity.network}", f"networks.{affinity.backbone.name}"]
        if block.crf:
            inputs["images"] = self._images(dataset)
        return Job(inputs, settings, tuple(modules))

    def train_segmenter(self, dataset: str, seed: str, mask: str, segmenter: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "segmenters", segmenter)
        modules = (f"segmentation.{block.network}", f"networks.{block.backbone.name}")
        if block.trained:
            return self._imported(dataset, block, {"masks": []}, modules)
        if data.use.train not in self._mask_splits(dataset, seed, mask):
            raise UserError(
                f"config: datasets.{dataset}: no system trains a segmenter on masks {mask!r} with seed {seed}; "
                "give one of its systems a segmenter and predictions"
            )
        inputs = {
            "index": self._index_path(dataset),
            "images": self._images(dataset),
            "masks": output_path("masks", dataset=dataset, seed=seed, mask=mask),
        }
        settings = {"block": block.model_dump(exclude={"trained"}), "seed": int(seed), "split": data.use.train}
        settings |= self._training(dataset, data)
        inputs["initial"] = self._initial_path(dataset, seed, block.initial)
        settings["initial_digest"] = self._initial(dataset, block.initial)
        if isinstance(block, blocks.Cosine):
            modules = (*modules, "data.samples.cosine_samples")
            modules += ("methods.bana",) if block.loss.rule != "cross_entropy" else ()
        return Job(inputs, settings, modules)

    def predictions(self, dataset: str, seed: str, mask: str, segmenter: str, prediction: str) -> Job:
        block = self.config.block(dataset, "predictions", prediction)
        chain = {"dataset": dataset, "seed": seed, "mask": mask, "segmenter": segmenter}
        inputs: dict = {"index": self._index_path(dataset), "images": self._images(dataset), "weights": [], "soft": []}
        settings: dict = {"dataset": dataset, "splits": self._prediction_splits(dataset, prediction)}
        if isinstance(block, blocks.CrfPrediction):
            inputs["soft"] = output_path("predictions", **chain, prediction=block.prediction)
            settings["block"] = block.model_dump(exclude={"prediction"})
            return Job(inputs, settings, ("refine.background", "refine.dense_crf"))
        network = self.config.block(dataset, "segmenters", segmenter)
        inputs["weights"] = output_path("train_segmenter", **chain)
        settings |= {
            "block": block.model_dump(),
            "segmenter": network.model_dump(exclude={"recipe", "initial", "trained"}),
        }
        modules = ("segmentation.inference", f"segmentation.{network.network}", f"networks.{network.backbone.name}")
        return Job(inputs, settings, modules)

    def submission(self, dataset: str, seed: str, mask: str, segmenter: str, prediction: str) -> Job:
        data = self._dataset(dataset)
        splits = list(data.unlabelled_evaluation())
        if not splits:
            raise UserError(
                f"config: datasets.{dataset}.use.evaluation: no split with labelled: false, so nothing is to be submitted; "
                "add one, as configs/voc_test.yaml does"
            )
        names = {"dataset": dataset, "seed": seed, "mask": mask, "segmenter": segmenter, "prediction": prediction}
        inputs = {"index": self._index_path(dataset), "predictions": output_path("predictions", **names)}
        soft = isinstance(self.config.block(dataset, "predictions", prediction), blocks.NetworkPrediction)
        modules = ("data.kinds.voc", *(("refine.background",) if soft else ()))
        return Job(inputs, {"dataset": dataset, "splits": splits, "classes": list(data.classes)}, modules)

    def score_saliency(self, dataset: str, saliency: str) -> Job:
        path = output_path("saliency", dataset=dataset, saliency=saliency)
        return self._scores(dataset, "saliency", path, [self._dataset(dataset).use.masks])

    def score_cams(self, dataset: str, seed: str, cam: str) -> Job:
        data = self._dataset(dataset)
        job = self._scores(dataset, "cam", output_path("cams", dataset=dataset, seed=seed, cam=cam), [data.use.masks])
        if data.use.thresholds is not None:
            job.inputs["thresholds"] = output_path("thresholds", dataset=dataset, seed=seed, cam=cam)
        else:
            job.settings["threshold"] = data.threshold
        return Job(job.inputs, job.settings, (*job.modules, "refine.background"))

    def score_masks(self, dataset: str, seed: str, mask: str) -> Job:
        path = output_path("masks", dataset=dataset, seed=seed, mask=mask)
        variant = self.config.variant(dataset, "masks", mask)
        splits = list(variant.splits) if variant else [self._dataset(dataset).use.masks]
        return self._scores(dataset, "mask", path, splits)

    def score_predictions(self, dataset: str, seed: str, mask: str, segmenter: str, prediction: str) -> Job:
        names = {"dataset": dataset, "seed": seed, "mask": mask, "segmenter": segmenter, "prediction": prediction}
        path = output_path("predictions", **names)
        splits = self._prediction_splits(dataset, prediction)
        unscored = {*self._dataset(dataset).use.evaluation} - {*self._dataset(dataset).scored_evaluation()}
        job = self._scores(dataset, "prediction", path, [split for split in splits if split not in unscored])
        soft = isinstance(self.config.block(dataset, "predictions", prediction), blocks.NetworkPrediction)
        return Job(job.inputs, job.settings, (*job.modules, *(("refine.background",) if soft else ())))

    def _scores(self, dataset: str, schema: str, artifact: str, splits: list[str]) -> Job:
        inputs: dict = {"index": self._index_path(dataset), "artifact": artifact, "thresholds": []}
        inputs["truth"] = output_path("truth", dataset=dataset)
        measure = "evaluation.saliency" if schema == "saliency" else "evaluation.miou"
        return Job(inputs, {"dataset": dataset, "schema": schema, "splits": splits}, (measure,))

    def miou(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        rows = [row for system in data.systems for row in systems.rows(self.config, dataset, system)]
        others = systems.given(self.config, dataset)
        inputs = [path for row in rows for path in row["scores"]] + [path for row in others for path in row["scores"]]
        settings = {"dataset": dataset, "classes": list(data.classes), "rows": rows, "inputs": others}
        return Job({"scores": list(dict.fromkeys(inputs))}, settings)

    def montage(self, dataset: str, system: str) -> Job:
        data = self._dataset(dataset)
        chain = systems.chain(self.config, dataset, system)
        schemas = {"saliency": "saliency", "cams": "cam", "masks": "mask", "predictions": "prediction"}
        shown = [(stage, names) for stage, names in chain if stage in schemas]
        columns = [[stage, schemas[stage]] for stage, _ in shown]
        paths = [output_path(stage, **names) for stage, names in shown]
        inputs = {
            "index": self._index_path(dataset),
            "images": self._images(dataset),
            "truth": output_path("truth", dataset=dataset) if sources.has_truth(data) else [],
            "artifacts": paths,
        }
        settings = {"dataset": dataset, "system": system, "columns": columns, "images": data.montage}
        predicts = any(stage == "predictions" for stage, _ in chain)
        settings["splits"] = [data.use.masks, *(data.scored_evaluation()[:1] if predicts else ())]
        return Job(inputs, settings)

    def curves(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        curves: dict[str, str] = {}
        sweeps: dict[str, str] = {}
        for system in data.systems:
            for stage, names in systems.chain(self.config, dataset, system):
                if stage.startswith("train_") and not systems.is_imported(self.config, stage, names):
                    parts = (f"{key} {value}" for key, value in names.items() if key != "dataset")
                    curves[output_path(stage, "curve", **names)] = ", ".join(parts)
                if stage == "cams" and data.use.thresholds is not None:
                    for seed in data.seeds:
                        path = output_path("thresholds", dataset=dataset, seed=seed, cam=names["cam"])
                        sweeps[path] = names["cam"]
        return Job(
            {"curves": list(curves), "sweeps": list(sweeps)},
            {"curves": [*curves.values()], "sweeps": [*sweeps.values()]},
        )

    def charts(self, dataset: str) -> Job:
        return Job({"miou": output_path("miou", dataset=dataset)}, {"classes": list(self._dataset(dataset).classes)})

    # Shared parts

    def _imported(self, dataset: str, block: blocks.Network, inputs: dict, modules: tuple[str, ...]) -> Job:
        """The job of a training stage that takes over trained weights: it needs no images, no labels and no GPU."""
        inputs = dict.fromkeys(("index", "images", *inputs), []) | {
            "initial": self._initial_path(dataset, "", block.trained)
        }
        data = self._dataset(dataset)
        settings = {
            "block": block.model_dump(exclude={"saliency", "cam", "labels", "initial", "recipe"}),
            "classes": list(data.classes),
            "initial_digest": self._initial(dataset, block.trained),
        }
        return Job(inputs, settings, modules)

    def _cam_splits(self, dataset: str, seed: str, cam: str) -> list[str]:
        """Splits that maps are made for, whatever systems there are: a new system makes no map stale.

        What is scored, where thresholds are chosen, what affinity networks learn from, and the training split with the
        seeds that segmentation is trained with. A tuning says itself where it needs its variants.
        """
        if variant := self.config.variant(dataset, "cams", cam):
            return list(variant.splits)
        use = self._dataset(dataset).use
        trains = use.train if self._segments(dataset, seed) else None
        return sorted({use.masks, use.thresholds, use.affinity or use.train, trains} - {None})

    def _prediction_splits(self, dataset: str, prediction: str) -> list[str]:
        """Splits that predictions are made for."""
        variant = self.config.variant(dataset, "predictions", prediction)
        return list(variant.splits if variant else self._dataset(dataset).use.evaluation)

    def _masks_digest(self, dataset: str, path: str) -> str:
        key = (dataset, "masks", path)
        if key not in self._sources:
            self._sources[key] = sources.digest_of(dataset, sources.mask_files(path))
        return self._sources[key]

    def _saliency_path(self, dataset: str, block) -> str | list[str]:
        saliency = getattr(block, "saliency", None)
        return output_path("saliency", dataset=dataset, saliency=saliency) if saliency else []

    def _with_classifier(self, dataset: str, seed: str, classifier: str) -> dict:
        weights = output_path("train_classifier", dataset=dataset, seed=seed, classifier=classifier)
        return {"index": self._index_path(dataset), "images": self._images(dataset), "weights": weights}

    def _training(self, dataset: str, data: datasets.Dataset) -> dict:
        return {"dataset": dataset, "classes": list(data.classes), "threads": data.torch_threads}


def network_modules(block) -> tuple[str, ...]:
    """The backbone that a block names and, where its stem is a network, that one."""
    stem = getattr(block.backbone, "stem", "linear")
    return tuple(f"networks.{name}" for name in (block.backbone.name, stem) if name != "linear")


def _network(block: blocks.Classifier) -> dict:
    """What of a classifier's block is needed to build its network again."""
    return block.model_dump(include={"method", "backbone", "options"})
