"""What the systems cost, from the networks and from what was noted when they were trained and used."""


rule cost:
    input:
        unpack(stages.inputs("cost")),
    output:
        cost=report(
            stages.output("cost", "cost"),
            caption="../report/cost.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "cost"},
        ),
    log:
        "logs/{dataset}/cost.log",
    benchmark:
        "logs/{dataset}/cost.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(4000),
        runtime=30,
    params:
        python=stages.python,
        settings=stages.settings("cost"),
        code=stages.code("cost"),
    message:
        "What the systems of {wildcards.dataset} cost"
    shell:
        "{params.python} -m workflow_scripts.stages.cost --settings {params.settings:q} --code {params.code}"
        " --artifacts {input.artifacts:q}"
        " --cost-to {output.cost:q} > {log:q} 2>&1"


use rule cost as cost_system with:
    input:
        unpack(stages.inputs("cost_system")),
    output:
        cost=stages.output("cost_system", "cost"),
    log:
        "logs/{dataset}/cost/{system}.log",
    benchmark:
        "logs/{dataset}/cost/{system}.tsv"
    params:
        settings=stages.settings("cost_system"),
        code=stages.code("cost_system"),
    message:
        "What system {wildcards.system} of {wildcards.dataset} costs"
