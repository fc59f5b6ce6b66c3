"""The papers' tables, and the measures that only these have: boundaries and confusion ratios of masks."""


rule boundaries:
    input:
        unpack(stages.inputs("boundaries")),
    output:
        scores=stages.output("boundaries", "scores"),
    log:
        "logs/{dataset}/seed-{seed}/boundaries/{mask}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/boundaries/{mask}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=120,
    params:
        python=stages.python,
        settings=stages.settings("boundaries"),
        code=stages.code("boundaries"),
    message:
        "Boundaries of masks {wildcards.mask} of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.boundaries --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --masks {input.masks:q} --truth {input.truth:q}"
        " --scores-to {output.scores:q} > {log:q} 2>&1"


rule boundary_table:
    input:
        unpack(stages.inputs("boundary_table")),
    output:
        table=report(
            stages.output("boundary_table", "table"),
            caption="../report/boundaries.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "boundaries"},
        ),
    log:
        "logs/{dataset}/boundary_table.log",
    benchmark:
        "logs/{dataset}/boundary_table.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        python=stages.python,
        settings=stages.settings("boundary_table"),
        code=stages.code("boundary_table"),
    message:
        "The table of boundaries of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.boundary_table --settings {params.settings:q} --code {params.code}"
        " --scores {input.scores:q}"
        " --table-to {output.table:q} > {log:q} 2>&1"


rule confusion_ratios:
    input:
        unpack(stages.inputs("confusion_ratios")),
    output:
        scores=stages.output("confusion_ratios", "scores"),
    log:
        "logs/{dataset}/seed-{seed}/confusion_ratios/{mask}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/confusion_ratios/{mask}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=60,
    params:
        python=stages.python,
        settings=stages.settings("confusion_ratios"),
        code=stages.code("confusion_ratios"),
    message:
        "Backgrounds that masks {wildcards.mask} of {wildcards.dataset} take for a class, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.confusion_ratios --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --masks {input.masks:q} --truth {input.truth:q}"
        " --scores-to {output.scores:q} > {log:q} 2>&1"


rule confusion_table:
    input:
        unpack(stages.inputs("confusion_table")),
    output:
        table=report(
            stages.output("confusion_table", "table"),
            caption="../report/confusion_ratios.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "confusion ratios"},
        ),
    log:
        "logs/{dataset}/confusion_table.log",
    benchmark:
        "logs/{dataset}/confusion_table.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        python=stages.python,
        settings=stages.settings("confusion_table"),
        code=stages.code("confusion_table"),
    message:
        "The table of confusion ratios of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.confusion_table --settings {params.settings:q} --code {params.code}"
        " --scores {input.scores:q}"
        " --table-to {output.table:q} > {log:q} 2>&1"


rule table:
    input:
        unpack(stages.inputs("table")),
    output:
        table=report(
            stages.output("table", "table"),
            caption="../report/table.rst",
            category="Tables of the papers",
            subcategory="{dataset}",
            labels={"table": "{table}"},
        ),
        text=stages.output("table", "text"),
    log:
        "logs/{dataset}/table/{table}.log",
    benchmark:
        "logs/{dataset}/table/{table}.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        python=stages.python,
        settings=stages.settings("table"),
        code=stages.code("table"),
    message:
        "Table {wildcards.table} of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.table --settings {params.settings:q} --code {params.code}"
        " --scores {input.scores:q} --tables {input.tables:q}"
        " --table-to {output.table:q} --text-to {output.text:q} > {log:q} 2>&1"


rule tables:
    input:
        unpack(stages.inputs("tables")),
    output:
        text=stages.output("tables", "text"),
    log:
        "logs/{dataset}/tables.log",
    benchmark:
        "logs/{dataset}/tables.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        python=stages.python,
        settings=stages.settings("tables"),
        code=stages.code("tables"),
    message:
        "All tables of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.tables --settings {params.settings:q} --code {params.code}"
        " --tables {input.tables:q} --text-to {output.text:q} > {log:q} 2>&1"
