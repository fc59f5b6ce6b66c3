"""Pseudo masks from class activation maps."""


rule thresholds:
    input:
        unpack(stages.inputs("thresholds")),
    output:
        thresholds=stages.output("thresholds", "thresholds"),
    log:
        "logs/{dataset}/seed-{seed}/thresholds/{cam}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/thresholds/{cam}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=stages.settings("thresholds"),
        code=stages.code("thresholds"),
    message:
        "Choosing the threshold of {wildcards.cam} on the held-out split of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "python -m workflow_scripts.stages.thresholds --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --truth {input.truth:q} --cams {input.cams:q}"
        " --thresholds-to {output.thresholds:q} > {log:q} 2>&1"


rule masks:
    input:
        unpack(stages.inputs("masks")),
    output:
        masks=stages.output("masks", "masks"),
    log:
        "logs/{dataset}/seed-{seed}/masks/{mask}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/masks/{mask}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        settings=stages.settings("masks"),
        code=stages.code("masks"),
    message:
        "Masks {wildcards.mask} of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "python -m workflow_scripts.stages.masks --settings {params.settings:q} --code {params.code}"
        " --workers {threads}"
        " --index {input.index:q} --images {input.images:q} --cams {input.cams:q} --thresholds {input.thresholds:q} --truth {input.truth:q}"
        " --masks-to {output.masks:q} > {log:q} 2>&1"
