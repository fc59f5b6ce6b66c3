"""What the systems cost, from the networks and from what was noted when they were trained and used."""


rule cost:
    input:
        unpack(stages.inputs("cost")),
    output:
        cost=stages.output("cost", "cost"),
    log:
        "logs/{dataset}/cost.log",
    benchmark:
        "logs/{dataset}/cost.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=stages.settings("cost"),
        code=stages.code("cost"),
    message:
        "What the systems of {wildcards.dataset} cost"
    shell:
        "python -m workflow_scripts.stages.cost --settings {params.settings:q} --code {params.code}"
        " --artifacts {input.artifacts:q}"
        " --cost-to {output.cost:q} > {log:q} 2>&1"
