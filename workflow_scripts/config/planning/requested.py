"""Jobs of what is made on request alone, beside the table and its pictures: tunings, costs, EPS's estimate of the
saliency; those of the gallery and of instances are in `gallery_jobs` and `instance_jobs`.
"""

from collections.abc import Iterable

from workflow_scripts.base.errors import UserError
from workflow_scripts.config.planning import sources, systems
from workflow_scripts.config.planning.gallery_jobs import GalleryJobs
from workflow_scripts.config.planning.instance_jobs import InstanceJobs
from workflow_scripts.config.planning.jobs import Job, network_modules
from workflow_scripts.config.planning.outputs import OUTPUTS, output_path
from workflow_scripts.config.planning.tunings import written

MOST = 500  # scores of a tuning: their paths are on one command line, which takes 128 KiB

# Stages that train a network: its kind and section, the modules that its block names and by which key, the stage that uses it.
NETWORKS = {
    "train_classifier": ("classifier", "classifiers", "methods", "method", "cams"),
    "train_affinity": ("affinity", "affinities", "refine", "network", "masks"),
    "train_segmenter": ("segmenter", "segmenters", "segmentation", "network", "predictions"),
}


class AllJobs(GalleryJobs, InstanceJobs):
    """The jobs of the table and those on request; `plan.Plan` asks for them by the names of stages."""

    def tune(self, dataset: str, tuning: str) -> Job:
        data, grid = self._dataset(dataset), self.config.grid(dataset, tuning)
        block = self.config.block(dataset, "tunings", tuning)
        points, scores = [], []
        for point in grid.points:
            paths = [OUTPUTS[point.stage]["scores"].format(dataset=dataset, seed=s, **point.names) for s in grid.seeds]
            points.append({"values": [_plain(value) for value in point.values], "configured": point.configured})
            scores += paths
        if len(scores) > MOST:
            raise UserError(
                f"config: tunings.{tuning}.vary: {len(points)} points with {len(grid.seeds)} seeds are more than the {MOST} scores "
                "that are gathered at once; vary fewer values"
            )
        settings = {
            "dataset": dataset,
            "tuning": tuning,
            "keys": list(block.vary),
            "points": points,
            "seeds": list(grid.seeds),
            "split": grid.split,
            "reported": [] if block.allow_scored else sorted({data.use.masks, *data.use.evaluation}),
        }
        return Job({"index": self._index_path(dataset), "scores": scores}, settings)

    def estimated_saliency(self, dataset: str, seed: str, cam: str) -> Job:
        classifier = self._estimating_classifier(dataset, cam)
        inputs = {
            "index": self._index_path(dataset),
            "cams": output_path("cams", dataset=dataset, seed=seed, cam=cam),
            "saliency": output_path("saliency", dataset=dataset, saliency=classifier.saliency),
        }
        settings = {"dataset": dataset, "splits": [self._dataset(dataset).use.masks]}
        settings["options"] = classifier.options.model_dump(exclude={"saliency_weight"})
        return Job(inputs, settings, (f"methods.{classifier.method}", "refine.background"))

    def score_estimated_saliency(self, dataset: str, seed: str, cam: str) -> Job:
        path = output_path("estimated_saliency", dataset=dataset, seed=seed, cam=cam)
        return self._scores(dataset, "saliency", path, [self._dataset(dataset).use.masks])

    def saliency_table(self, dataset: str) -> Job:
        data = self._dataset(dataset)
        rows = []
        for cam in self.estimates(dataset):
            detector = self._estimating_classifier(dataset, cam).saliency
            names = {"dataset": dataset, "saliency": detector, "cam": cam}
            given = OUTPUTS["score_saliency"]["scores"].format(**names)
            estimated = [
                OUTPUTS["score_estimated_saliency"]["scores"].format(**names, seed=seed) for seed in data.seeds
            ]
            rows += [{"map": "detector", "name": detector, "detector": detector, "scores": [given]}]
            rows += [{"map": "estimate", "name": cam, "detector": detector, "scores": estimated}]
        if not rows:
            raise UserError(
                f"config: datasets.{dataset}.systems: none has a classifier that estimates saliency; list one of method eps"
            )
        rows = [row for number, row in enumerate(rows) if row not in rows[:number]]
        return Job({"scores": [path for row in rows for path in row["scores"]]}, {"rows": rows})

    def montage_saliency(self, dataset: str, cam: str) -> Job:
        data, detector = self._dataset(dataset), self._estimating_classifier(dataset, cam).saliency
        estimate = output_path("estimated_saliency", dataset=dataset, seed=str(data.seeds[0]), cam=cam)
        inputs = {
            "index": self._index_path(dataset),
            "images": self._images(dataset),
            "truth": output_path("truth", dataset=dataset) if sources.has_truth(data) else [],
            "artifacts": [output_path("saliency", dataset=dataset, saliency=detector), estimate],
        }
        columns = [["saliency", "saliency"], ["estimated_saliency", "saliency"]]
        settings = {"dataset": dataset, "system": cam, "columns": columns, "images": data.montage}
        return Job(inputs, settings | {"splits": [data.use.masks]})

    def erasing(self, dataset: str, classifier: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "classifiers", classifier)
        if block.method != "seenet" or block.trained:
            raise UserError(
                f"config: classifiers.{classifier}: only a training of method 'seenet' erases; name such a one"
            )
        seed = str(data.seeds[0])
        training = self.train_classifier(dataset, seed, classifier)
        inputs = {name: training.inputs[name] for name in ("index", "images", "initial")}
        settings = training.settings | {"classifier": classifier, "shown": data.use.masks}
        return Job(inputs, settings, training.modules)

    def confidence(self, dataset: str, system: str) -> Job:
        data, block = self._dataset(dataset), self.config.block(dataset, "systems", system)
        if not self._is_noise_aware(dataset, block.segmenter):
            raise UserError(
                f"config: systems.{system}: trains no segmenter with loss.rule 'noise_aware', which confidence is of; "
                "name a system that does"
            )
        seed = str((data.segmentation_seeds or data.seeds)[0])
        training = self.train_segmenter(dataset, seed, block.mask, block.segmenter)
        inputs = training.inputs | {"truth": output_path("truth", dataset=dataset) if sources.has_truth(data) else []}
        settings = training.settings | {"system": system, "shown": data.use.masks}
        return Job(inputs, settings, training.modules)

    def noise_aware(self, dataset: str) -> list[str]:
        """Systems of the data set that train a segmenter with the noise-aware loss."""
        named = {name: self.config.block(dataset, "systems", name) for name in self._dataset(dataset).systems}
        return [name for name, block in named.items() if self._is_noise_aware(dataset, block.segmenter)]

    def _is_noise_aware(self, dataset: str, segmenter: str | None) -> bool:
        block = self.config.block(dataset, "segmenters", segmenter) if segmenter else None
        rule = getattr(getattr(block, "loss", None), "rule", None)
        return rule == "noise_aware" and not block.trained

    def cost(self, dataset: str) -> Job:
        return self._cost(dataset, self._dataset(dataset).systems)

    def _cost(self, dataset: str, names: Iterable[str]) -> Job:
        """Of the systems' classifiers, affinities and segmenters, all of one seed."""
        data, found = self._dataset(dataset), []
        modules: dict[str, None] = {}
        for system in names:
            stages, networks = systems.chain(self.config, dataset, system), []
            paths = [output_path(stage, **names) for stage, names in stages]
            for place, (stage, names) in enumerate(stages):
                if stage not in NETWORKS:
                    continue
                kind, section, family, named, use = NETWORKS[stage]
                block = self.config.block(dataset, section, names[kind])
                used = [path for path, (later, _) in zip(paths, stages, strict=True) if later == use]
                kept = block.model_dump(exclude={"recipe", "initial", "saliency", "cam", "labels"})
                network = {"kind": kind, "name": names[kind], "block": kept, "side": block.recipe.crop}
                networks.append(network | {"trained": paths[place], "used": used[0] if used else None})
                modules |= dict.fromkeys([f"{family}.{getattr(block, named)}", *network_modules(block)])
            found.append({"name": system, "networks": networks, "artifacts": paths})
        artifacts = dict.fromkeys(path for system in found for path in system["artifacts"])
        settings = {"dataset": dataset, "classes": list(data.classes), "systems": found}
        return Job({"artifacts": list(artifacts)}, settings, tuple(modules))

    def estimates(self, dataset: str) -> list[str]:
        """Cams of the data set's systems whose classifier estimates saliency."""
        chains = (systems.chain(self.config, dataset, system) for system in self._dataset(dataset).systems)
        cams = dict.fromkeys(names["cam"] for chain in chains for stage, names in chain if stage == "cams")
        return [cam for cam in cams if self._classifier_of(dataset, cam).method == "eps"]

    def _classifier_of(self, dataset: str, cam: str):
        return self.config.block(dataset, "classifiers", self.config.block(dataset, "cams", cam).classifier)

    def _estimating_classifier(self, dataset: str, cam: str):
        classifier = self._classifier_of(dataset, cam)
        if classifier.method != "eps":
            raise UserError(
                f"config: cams.{cam}: method {classifier.method!r} estimates no saliency; name a cam of a classifier of method eps"
            )
        return classifier


def _plain(value) -> int | float | str:
    """A value of a grid for table and picture: a number, 1 for 1.0, or as text."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    return value if isinstance(value, int) else written(value)
