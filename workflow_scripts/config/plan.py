"""The DAG of a configuration: rules, `verify` and the table all ask here, so that there is one answer."""

import inspect
from collections.abc import Iterator, Mapping

from workflow_scripts.config import blocks
from workflow_scripts.config.data_jobs import Job
from workflow_scripts.config.fingerprint import canonical, code_digest, fingerprint
from workflow_scripts.config.jobs import StageJobs
from workflow_scripts.config.outputs import OUTPUTS, output_path
from workflow_scripts.config.resolve import Config
from workflow_scripts.config.sources import has_truth
from workflow_scripts.config.systems import chain


class Plan:
    def __init__(self, config: Config):
        self.config = config
        self._stages = StageJobs(config)
        self._jobs: dict[tuple, Job] = {}

    def job(self, stage: str, wildcards: Mapping[str, str]) -> Job:
        method = getattr(self._stages, stage)
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
        """The table, where there is truth to score on, and the pictures."""
        table = [output_path("miou", dataset=dataset)] if has_truth(self.config.dataset(dataset)) else []
        return [*table, *self.pictures(dataset), *self.submissions(dataset)]

    def submissions(self, dataset: str) -> list[str]:
        """What goes to an evaluation server: the predictions of every system, where a split is scored there."""
        if not self.config.dataset(dataset).unlabelled_evaluation():
            return []
        return [
            output_path("submission", **names)
            for system in self.config.dataset(dataset).systems
            for stage, names in chain(self.config, dataset, system)
            if stage == "predictions"
        ]

    def pictures(self, dataset: str) -> list[str]:
        names = self.config.dataset(dataset).systems
        montages = [output_path("montage", dataset=dataset, system=name) for name in names]
        return [*(path.format(dataset=dataset) for path in OUTPUTS["curves"].values()), *montages]

    def _all(self, dataset: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Every job that the configuration can name for a data set (not only those that its systems need)."""
        data = self.config.dataset(dataset)
        base = {"dataset": dataset}
        yield from (("weights", {"file": item.file}) for item in self.config.downloads())
        yield from ((stage, {"archive": name}) for name in data.archives for stage in ("archives", "unpack"))
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
                            for stage in ("predictions", "score_predictions", "submission")
                        )
