"""A rule for each stage of stages.yaml, and one more, STAGE_shard, for each that goes through the images in parts."""

from workflow_scripts.config.planning.stages import STAGES
# Functions, as Snakemake evaluates a shell command once more when a job runs. It refuses `benchmark` beside `cache`.
# fmt: off
def declare(stage, name, output, suffix="", told=""):

    rule:
        name:
            name
        input:
            unpack(stages.inputs(stage.name)),
        output:
            **output,
        log:
            f"{stage.log}{suffix}.log",
        benchmark:
            f"{stage.log}{suffix}.tsv"
        localrule: stage.localrule
        conda:
            "../envs/workflow.yaml"
        threads: stages.threads(stage)
        resources:
            **stages.resources(stage),
        params:
            **stages.params(stage),
        message:
            f"{stage.message}{told}".replace("{", "{wildcards.")
        shell:
            stage.command


def declare_kept(stage):

    rule:
        name:
            stage.name
        input:
            unpack(stages.inputs(stage.name)),
        output:
            **stages.outputs(stage),
        log:
            f"{stage.log}.log",
        cache: CACHED
        localrule: stage.localrule
        conda:
            "../envs/workflow.yaml"
        threads: stages.threads(stage)
        resources:
            **stages.resources(stage),
        params:
            **stages.params(stage),
        message:
            stage.message.replace("{", "{wildcards.")
        shell:
            stage.command
# fmt: on
def shown(stage):
    """What a stage makes, marked for the report; and its folder."""
    outputs = stages.outputs(stage)
    for name, about in stage.report.items():
        labels = {
            key: text
            for key, text in about.items()
            if key not in ("caption", "category")
        }
        caption = f"../report/{about['caption']}.rst"
        outputs[name] = report(
            outputs[name],
            caption=caption,
            category=about["category"],
            subcategory="{dataset}",
            labels=labels,
        )
    return outputs | {name: directory(path) for name, path in stage.folder.items()}


for stage in STAGES.values():
    if stage.cache:
        declare_kept(stage)
    else:
        declare(stage, stage.name, shown(stage))
    if stage.by_image:
        parts = {name: temp(path) for name, path in stages.shard_outputs(stage).items()}
        of = ", shard {shard} of {shards}"
        declare(stage, f"{stage.name}_shard", parts, ".{shard}-of-{shards}", of)
