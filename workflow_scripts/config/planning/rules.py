"""What the Snakemake rules call: inputs, settings and code of a stage as functions of the wildcards alone.

Snakemake forgets params that depend on anything but wildcards, and compares dictionaries by their text: so both params
are one string each.
"""

import os
from collections.abc import Callable
from typing import Any

from workflow_scripts.config.fingerprint import closure
from workflow_scripts.config.planning.memory import of_training
from workflow_scripts.config.planning.needs import of_job
from workflow_scripts.config.planning.outputs import BLOCKS
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.planning.stages import STAGES, Stage
from workflow_scripts.config.resolve import Config
from workflow_scripts.config.types.initial import Network

# The modules that make splitting a stage that goes through the images worth its while.
HEAVY = {"networks", "detectors", "refine.dense_crf", "refine.grabcut_mask"}

SHARD = ".{shard}-of-{shards}"  # behind the name of a file


def kept_between_runs(requested: list[str] | None) -> bool:
    """Whether Snakemake's cache between workflows is asked for, by `--cache`, and has a folder.

    Rules that are marked for it without the option are named at every start; without the folder they fail.
    """
    return requested is not None and "SNAKEMAKE_OUTPUT_CACHE" in os.environ


class Command(str):
    """How jobs start Python: in a shell command all of it, but "python" where Snakemake compares params and hashes them.

    It names folders and processes, which make nothing stale.
    """

    def __new__(cls, command: str):
        self = super().__new__(cls, "python")
        self.command = command
        return self

    def __format__(self, spec: str) -> str:
        return format(self.command, spec)


class Rules:
    """Answers for one configuration: `rules.inputs("cams")` is an input function, `rules.settings("cams")` a param."""

    def __init__(
        self,
        raw: dict,
        python: str = "python",
        in_place: Callable[[str], str] = str,
        cores: Callable[[], int | None] = lambda: None,
        warn: Callable[[str], object] = print,
    ):
        self.config = Config(raw)
        self.plan = Plan(self.config)
        self._python = Command(python)
        self._cores, self._warn = cores, warn
        self._few: set[str] = set()  # data sets of which it was told
        self._in_place = in_place  # marks a file in `data/` that stays there, whatever a module's prefix

    def python(self, wildcards) -> Command:
        """What a shell starts the Python of a job by; a function, as Snakemake makes plain texts of others."""
        return self._python

    def inputs(self, stage: str) -> Callable:
        """Those of the job and, of a stage that goes through the images, the shards that it puts together."""

        def inputs_of(wildcards) -> dict:
            inputs = {
                name: self._placed(value) if isinstance(value, str) else [self._placed(path) for path in value]
                for name, value in self.plan.job(stage, wildcards).inputs.items()
            }
            if not STAGES[stage].by_image:
                return inputs
            shards = self._shards(stage, wildcards)
            return inputs | {"shards": shards, "sidecars": [f"{shard}.json" for shard in shards]}

        return inputs_of

    def settings(self, stage: str) -> Callable:
        """The settings of a job; with what planning asks of each job that would run, `needs`."""

        def settings_of(wildcards) -> str:
            return self.plan.settings(stage, wildcards)

        settings_of.needs = lambda wildcards: list(of_job(self.config, stage, wildcards))
        return settings_of

    def code(self, stage: str) -> Callable:
        return lambda wildcards: self.plan.code(stage, wildcards)

    def params(self, stage: Stage) -> dict[str, Callable]:
        """Of a rule, by name."""
        params: dict[str, Callable] = {
            "python": self.python,
            "settings": self.settings(stage.name),
            "code": self.code(stage.name),
        }
        if stage.trains:
            params["save_every"] = self.save_every(stage.name)
        if stage.by_image:
            params["shard"] = self.shard
        return params

    def outputs(self, stage: Stage) -> dict[str, str]:
        """Of a rule, by name; with sidecars where what is made is kept between runs, so that they go where it goes."""
        outputs = {name: self._placed(path) for name, path in stage.output.items()}
        if stage.cache:
            named = "{}_sidecar" if len(outputs) > 1 else "sidecar"
            outputs |= {named.format(name): self._placed(f"{path}.json") for name, path in stage.output.items()}
        return outputs

    def shard_outputs(self, stage: Stage) -> dict[str, str]:
        """What one part of the images is written to; nobody but the job that puts the parts together reads it."""
        ((name, path),) = stage.output.items()
        return {name: path + SHARD, "sidecar": f"{path}{SHARD}.json"}

    def _placed(self, path: str) -> str:
        return self._in_place(path) if path.startswith("data/") else path

    def shard(self, wildcards) -> str:
        """Which part of the images a job is for, "2-of-4"; empty for all."""
        return f"{wildcards.shard}-of-{wildcards.shards}" if "shard" in wildcards.keys() else ""

    def _shards(self, stage: str, wildcards) -> list[str]:
        """Shards that a job puts together: none where it does the work itself, is a shard, or has little to do."""
        count = self.config.shards
        if count == 1 or "shard" in wildcards.keys() or not HEAVY & {*closure(self.plan.job(stage, wildcards).modules)}:
            return []
        (path,) = self.plan.outputs(stage, wildcards).values()
        return [path + SHARD.format(shard=number, shards=count) for number in range(1, count + 1)]

    def threads(self, stage: Stage) -> int | Callable:
        """Of a rule."""
        if stage.threads == "torch":
            return self.training_threads(stage.name)
        if stage.by_image:
            return self.image_workers(stage.name)
        return self.workers if stage.threads else 1

    def resources(self, stage: Stage) -> dict[str, Any]:
        """Of a rule, by name."""
        resources = {"mem_mb": self.memory(stage), "runtime": stage.runtime}
        return resources | ({"gpu": self.gpus(stage.name)} if stage.gpu else {})

    def torch_threads(self, wildcards) -> int:
        """Threads of a training job, from the data set's configuration, as they decide the bytes.

        Snakemake gives a job fewer where the run has fewer cores, without a word; so it is told here, once.
        """
        name, cores = wildcards.dataset, self._cores()
        threads = self.config.dataset(name).torch_threads
        if cores and cores < threads and name not in self._few and not self.config.dataset(name).gpus:
            self._few.add(name)
            self._warn(
                f"datasets.{name}.torch_threads is {threads}, and a job gets {cores} cores at most: trainings compute with "
                f"{cores} threads, which gives other bytes; run with --cores {threads} or more, or set torch_threads: {cores}"
            )
        return threads

    def training_threads(self, stage: str) -> Callable:
        """Cores of a training job, as many of which load images: a GPU wants more of them than torch has threads."""

        def threads_of(wildcards) -> int:
            threads = self.torch_threads(wildcards)
            workers = self.config.dataset(wildcards.dataset).workers
            return max(threads, workers) if self.gpus(stage)(wildcards) else threads

        return threads_of

    def save_every(self, stage: str) -> Callable:
        """Steps of a training between saved states.

        They decide no byte: the function asks for `threads` because Snakemake then does not remember what it gives.
        """
        kind, wildcard = BLOCKS[stage]

        def save_every_of(wildcards, threads) -> int:
            return self.config.block(wildcards.dataset, kind, wildcards[wildcard]).recipe.save_every

        return save_every_of

    def workers(self, wildcards) -> int:
        """Processes of a job that goes through the images; their number never changes the bytes."""
        return self.config.dataset(wildcards.dataset).workers

    def image_workers(self, stage: str) -> Callable:
        """As `workers`; one where shards are put together."""
        return lambda wildcards: 1 if self._shards(stage, wildcards) else self.workers(wildcards)

    def gpus(self, stage: str) -> Callable:
        """GPUs that a job asks for: a training those of its data set, another job of a network one of them, else none.

        Trained weights are taken over without one.
        """

        def gpus_of(wildcards) -> int:
            job = self.plan.job(stage, wildcards)
            if job.settings.get("block", {}).get("trained") or "networks" not in closure(job.modules):
                return 0
            if STAGES[stage].by_image and self._shards(stage, wildcards):
                return 0
            available = self.config.dataset(wildcards.dataset).gpus
            return available if STAGES[stage].trains else min(1, available)

        return gpus_of

    def memory(self, stage: Stage) -> Callable:
        """Memory that a job asks for, and so much more each time that a cluster has ended the job.

        Of a training it follows from its block where its network says what it holds; else it is the stage's guess.
        """

        def memory_of(wildcards, attempt: int, threads: int) -> int:
            return attempt * (
                (self._estimate(stage.name, wildcards, threads) if stage.trains else None) or stage.mem_mb
            )

        return memory_of

    def _estimate(self, stage: str, wildcards, threads: int) -> int | None:
        (section, wildcard), data = BLOCKS[stage], self.config.dataset(wildcards.dataset)
        block = self.config.block(wildcards.dataset, section, wildcards[wildcard])
        if not isinstance(block, Network):
            return None  # of saliency
        return of_training(block, len(data.classes) + 1, self.gpus(stage)(wildcards), threads)

    def pictures(self, wildcards) -> list[str]:
        return self.plan.pictures(wildcards.dataset)
