"""The DAG of a configuration: rules, `verify` and the table all ask here, so that there is one answer."""

import hashlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache

from workflow_scripts.config import families
from workflow_scripts.config.fingerprint import canonical, code_digest
from workflow_scripts.config.planning import systems
from workflow_scripts.config.planning.context import Context
from workflow_scripts.config.planning.jobs import JOBS, ON_REQUEST
from workflow_scripts.config.planning.outputs import OUTPUTS, maker, output_path
from workflow_scripts.config.planning.registry import Job
from workflow_scripts.config.planning.stages import STAGES
from workflow_scripts.config.resolve import Config


class Plan(Context):
    """The jobs of one configuration, each worked out once."""

    def __init__(self, config: Config):
        super().__init__(config)
        self._jobs: dict[tuple, Job] = {}

    def job(self, stage: str, wildcards: Mapping[str, str]) -> Job:
        names = {name: str(wildcards[name]) for name in _wildcards(stage)}
        key = (stage, *names.values())
        if key not in self._jobs:
            job = JOBS[stage](self, **names)
            self._jobs[key] = replace(job, inputs=dict.fromkeys(STAGES[stage].input, []) | job.inputs)
        return self._jobs[key]

    def settings(self, stage: str, wildcards: Mapping[str, str]) -> str:
        """Of a job, as JSON; with a digest of the paths that it reads, which names the blocks it is made from."""
        job = self.job(stage, wildcards)
        made_from = hashlib.sha256(canonical(job.inputs).encode()).hexdigest()[:16]
        return canonical(job.settings | {"made_from": made_from})

    def modules(self, stage: str, wildcards: Mapping[str, str]) -> list[str]:
        return [f"stages.{STAGES[stage].module or stage}", *self.job(stage, wildcards).modules]

    def code(self, stage: str, wildcards: Mapping[str, str]) -> str:
        families.use(self.config.plugins)  # of this configuration, where there are several
        return code_digest(self.modules(stage, wildcards))

    def outputs(self, stage: str, wildcards: Mapping[str, str]) -> dict[str, str]:
        return {name: pattern.format(**wildcards) for name, pattern in OUTPUTS[stage].items()}

    def jobs(self, dataset: str, *more: str) -> Iterator[tuple[str, dict[str, str]]]:
        """Every job behind a data set's table and pictures, and more files, each once, inputs before users."""
        return self.behind([*self.targets(dataset), *more])

    def behind(self, paths: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
        """Every job that files are made by, each once, inputs before users."""
        seen: dict[tuple, None] = {}

        def visit(path: str) -> None:
            made = maker(path)
            if made is None:
                return
            stage, wildcards = made
            key = (stage, tuple(sorted(wildcards.items())))
            if key in seen:
                return
            for value in self.job(stage, wildcards).inputs.values():
                for item in [value] if isinstance(value, str) else value:
                    visit(item)
            seen[key] = None

        for path in paths:
            visit(path)
        for stage, items in seen:
            yield stage, dict(items)

    def targets(self, dataset: str) -> list[str]:
        """The table, where there is truth to score on, and the pictures."""
        table = [output_path("miou", dataset=dataset)] if self.config.dataset(dataset).has_truth() else []
        return [*table, *self.pictures(dataset), *self.submissions(dataset)]

    def submissions(self, dataset: str) -> list[str]:
        """What goes to an evaluation server: the predictions of every system, where a split is scored there."""
        if not self.config.dataset(dataset).unlabelled_evaluation():
            return []
        return [
            output_path("submission", **names)
            for system in self.config.dataset(dataset).systems
            for stage, names in systems.chain(self.config, dataset, system)
            if stage == "predictions"
        ]

    def pictures(self, dataset: str) -> list[str]:
        names = self.config.dataset(dataset).systems
        boxes = systems.boxed(self.config, dataset) and self.config.dataset(dataset).has_truth()
        rates = [output_path("filling_rates", dataset=dataset)] if boxes else []
        montages = [output_path("montage", dataset=dataset, system=name) for name in names]
        stages = ["curves", *(["charts"] if self.config.dataset(dataset).has_truth() else [])]
        common = [path.format(dataset=dataset) for stage in stages for path in OUTPUTS[stage].values()]
        return [*common, *rates, *montages]

    def on_request(self, dataset: str) -> list[str]:
        """What can be asked for beside the targets."""
        return [path for files in ON_REQUEST for path in files(self, dataset)]


@cache
def _wildcards(stage: str) -> tuple[str, ...]:
    """Of the rule of a stage: the parameters of its function after the plan."""
    return tuple(inspect.signature(JOBS[stage]).parameters)[1:]
