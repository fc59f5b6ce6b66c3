"""What the Snakemake rules call: inputs, settings and code of a stage as functions of the wildcards alone.

Snakemake forgets params that depend on anything but wildcards, and compares dictionaries by their text: so both params
are one string each.
"""

from collections.abc import Callable

from workflow_scripts.config.fingerprint import closure
from workflow_scripts.config.outputs import FOLDERS, OUTPUTS
from workflow_scripts.config.plan import Plan
from workflow_scripts.config.resolve import Config


class Rules:
    """Answers for one configuration: `rules.inputs("cams")` is an input function, `rules.settings("cams")` a param."""

    def __init__(self, raw: dict):
        self.config = Config(raw)
        self.plan = Plan(self.config)

    def inputs(self, stage: str) -> Callable:
        return lambda wildcards: self.plan.job(stage, wildcards).inputs

    def settings(self, stage: str) -> Callable:
        return lambda wildcards: self.plan.settings(stage, wildcards)

    def code(self, stage: str) -> Callable:
        return lambda wildcards: self.plan.code(stage, wildcards)

    def output(self, stage: str, name: str) -> str:
        return OUTPUTS[stage][name]

    def folder(self, stage: str) -> str:
        return FOLDERS[stage]

    def torch_threads(self, wildcards) -> int:
        """Threads of a training job, from the data set's configuration, as they decide the bytes."""
        return self.config.dataset(wildcards.dataset).torch_threads

    def training_threads(self, stage: str) -> Callable:
        """Cores of a training job, as many of which load images: a GPU wants more of them than torch has threads."""

        def threads_of(wildcards) -> int:
            data = self.config.dataset(wildcards.dataset)
            return max(data.torch_threads, data.workers) if self.gpus(stage)(wildcards) else data.torch_threads

        return threads_of

    def workers(self, wildcards) -> int:
        """Processes of a job that goes through the images; their number never changes the bytes."""
        return self.config.dataset(wildcards.dataset).workers

    def gpus(self, stage: str) -> Callable:
        """GPUs that a job asks for: those of its data set where its block names a network, else none.

        Trained weights are taken over without one.
        """

        def gpus_of(wildcards) -> int:
            job = self.plan.job(stage, wildcards)
            if job.settings.get("block", {}).get("trained") or "networks" not in closure(job.modules):
                return 0
            return self.config.dataset(wildcards.dataset).gpus

        return gpus_of

    def pictures(self, wildcards) -> list[str]:
        return self.plan.pictures(wildcards.dataset)
