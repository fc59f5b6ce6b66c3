"""A rule for each stage of stages.yaml, and one more, STAGE_shard, for the parts of those that can be split."""

from workflow_scripts.config.planning.rules import SHARD
from workflow_scripts.config.planning.stages import STAGES
# Functions, as Snakemake evaluates a shell command once more when a job runs. It refuses `benchmark` beside `cache`.
# fmt: off
def declare(stage, name, output, suffix="", of=""):

    rule:
        name: name
        input: unpack(stages.inputs(stage.name))
        output: **output
        log: f"{stage.log}{suffix}.log"
        benchmark: f"{stage.log}{suffix}.tsv"
        localrule: stage.localrule
        conda: "../envs/workflow.yaml"
        threads: stages.threads(stage)
        resources: **stages.resources(stage)
        params: **stages.params(stage)
        message: f"{stage.message}{of}".replace("{", "{wildcards.")
        shell: stage.command


def declare_kept(stage):

    rule:
        name: stage.name
        input: unpack(stages.inputs(stage.name))
        output: **stages.outputs(stage)
        log: f"{stage.log}.log"
        cache: CACHED
        localrule: stage.localrule
        conda: "../envs/workflow.yaml"
        threads: stages.threads(stage)
        resources: **stages.resources(stage)
        params: **stages.params(stage)
        message: stage.message.replace("{", "{wildcards.")
        shell: stage.command


# fmt: on
for stage in STAGES.values():
    made = stages.outputs(stage)
    for name, shown in stage.report.items():
        made[name] = report(made[name], subcategory="{dataset}", **shown)
    made |= {name: directory(path) for name, path in stage.folder.items()}
    if stage.cache:
        declare_kept(stage)
    else:
        declare(stage, stage.name, made)
    if stage.by_image:
        made = {name: temp(path) for name, path in stages.shard_outputs(stage).items()}
        declare(
            stage, f"{stage.name}_shard", made, SHARD, ", shard {shard} of {shards}"
        )
