"""The stages as rules/stages.yaml declares them: rules are made of it, and planning asks it what a stage reads and writes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workflow_scripts.config.fingerprint import ROOT
from workflow_scripts.config.yaml_files import read_yaml


@dataclass(frozen=True)
class Stage:
    """What one rule is made of; the head of the file says what the keys mean."""

    name: str
    message: str
    output: Mapping[str, str]
    mem_mb: int
    runtime: int
    input: tuple[str, ...] = ()
    module: str = ""
    folder: Mapping[str, str] = field(default_factory=dict)
    report: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    block: str = ""
    by_image: bool = False
    trains: bool = False
    threads: str = ""
    gpu: int = 0
    localrule: bool = False
    cache: bool = False

    @property
    def wildcards(self) -> list[str]:
        return list(dict.fromkeys(re.findall(r"\{(\w+)\}", next(iter(self.output.values())))))

    @property
    def log(self) -> str:
        """Where it logs and notes what it took, without a suffix."""
        folders = {"dataset": "{dataset}", "seed": "seed-{seed}"}
        before = [folders[name] for name in self.wildcards if name in folders]
        return "/".join(
            ["logs", *before, self.name, *(f"{{{name}}}" for name in self.wildcards if name not in folders)]
        )

    @property
    def command(self) -> str:
        """What a shell runs, before Snakemake puts in files and params."""
        words = [f"{{params.python}} -m workflow_scripts.stages.{self.module or self.name}"]
        words += ["--settings {params.settings:q} --code {params.code}"]
        words += ["--gpus {resources.gpu}"] if self.gpu else []
        words += ["--workers {threads}"] if self.threads else []
        words += ["--save-every {params.save_every}"] if self.trains else []
        words += [f"--{name} {{input.{name}:q}}" for name in self.input]
        words += ["--shard {params.shard:q} --shards {input.shards:q}"] if self.by_image else []
        words += [f"--{name}-to {{output.{name}:q}}" for name in self.output]
        return " ".join([*words, "> {log:q} 2>&1"])


def _stage(name: str, message: str, output: Mapping, job: Mapping, input: Sequence = (), **more: Any) -> Stage:
    return Stage(name, message, output, input=tuple(input), **job, **more)


STAGES = {name: _stage(name, **declared) for name, declared in read_yaml(ROOT.parent / "rules" / "stages.yaml").items()}
