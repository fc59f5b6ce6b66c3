"""Tunings: the scores of a grid's points, which are jobs of the other rules, in a table and a picture."""


rule tune:
    input:
        unpack(stages.inputs("tune")),
    output:
        table=report(
            stages.output("tune", "table"),
            caption="../report/tuning.rst",
            category="Tunings",
            subcategory="{dataset}",
            labels={"tuning": "{tuning}", "as": "table"},
        ),
        picture=report(
            stages.output("tune", "picture"),
            caption="../report/tuning.rst",
            category="Tunings",
            subcategory="{dataset}",
            labels={"tuning": "{tuning}", "as": "picture"},
        ),
    log:
        "logs/{dataset}/tune/{tuning}.log",
    benchmark:
        "logs/{dataset}/tune/{tuning}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=30,
    params:
        python=stages.python,
        settings=stages.settings("tune"),
        code=stages.code("tune"),
    message:
        "The table of tuning {wildcards.tuning} on {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.tune --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --scores {input.scores:q}"
        " --table-to {output.table:q} --picture-to {output.picture:q} > {log:q} 2>&1"
