"""Data: archives, rendered scenes, the checked index, and the truth, which only scores and what declares it read."""


rule render:
    output:
        images=stages.output("render", "images"),
        truth=stages.output("render", "truth"),
    log:
        "logs/{dataset}/render.log",
    benchmark:
        "logs/{dataset}/render.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.workers
    resources:
        mem_mb=stages.memory(2000),
        runtime=30,
    params:
        python=stages.python,
        settings=stages.settings("render"),
        code=stages.code("render"),
    message:
        "Rendering the scenes of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.render --settings {params.settings:q} --code {params.code}"
        " --workers {threads}"
        " --images-to {output.images:q} --truth-to {output.truth:q} > {log:q} 2>&1"


rule index:
    input:
        unpack(stages.inputs("index")),
    output:
        index=stages.output("index", "index"),
        findings=stages.output("index", "findings"),
    log:
        "logs/{dataset}/index.log",
    benchmark:
        "logs/{dataset}/index.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.workers
    resources:
        mem_mb=stages.memory(2000),
        runtime=240,
    params:
        python=stages.python,
        settings=stages.settings("index"),
        code=stages.code("index"),
    message:
        "Checking every image, label and box of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.index --settings {params.settings:q} --code {params.code}"
        " --workers {threads}"
        " --images {input.images:q} --archives {input.archives:q}"
        " --index-to {output.index:q} --findings-to {output.findings:q} > {log:q} 2>&1"


rule truth:
    input:
        unpack(stages.inputs("truth")),
    output:
        truth=stages.output("truth", "truth"),
        findings=stages.output("truth", "findings"),
    log:
        "logs/{dataset}/truth.log",
    benchmark:
        "logs/{dataset}/truth.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=240,
    params:
        python=stages.python,
        settings=stages.settings("truth"),
        code=stages.code("truth"),
    message:
        "Reading the truth masks of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.truth --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --rendered {input.rendered:q} --archives {input.archives:q}"
        " --truth-to {output.truth:q} --findings-to {output.findings:q} > {log:q} 2>&1"


rule checks:
    input:
        unpack(stages.inputs("checks")),
    output:
        checks=stages.output("checks", "checks"),
        picture=stages.output("checks", "picture"),
    log:
        "logs/{dataset}/checks.log",
    benchmark:
        "logs/{dataset}/checks.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=30,
    params:
        python=stages.python,
        settings=stages.settings("checks"),
        code=stages.code("checks"),
    message:
        "What is suspicious in {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.checks --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --images {input.images:q} --truth {input.truth:q} --findings {input.findings:q}"
        " --checks-to {output.checks:q} --picture-to {output.picture:q} > {log:q} 2>&1"


rule weights:
    output:
        weights=stages.output("weights", "weights"),
        sidecar=stages.sidecar("weights", "weights"),
    log:
        "logs/weights/{file}.log",
    cache: CACHED
    localrule: True
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=240,
    params:
        python=stages.python,
        settings=stages.settings("weights"),
        code=stages.code("weights"),
    message:
        "Downloading {wildcards.file}"
    shell:
        "{params.python} -m workflow_scripts.stages.weights --settings {params.settings:q} --code {params.code}"
        " --weights-to {output.weights:q} > {log:q} 2>&1"


rule archives:
    output:
        archive=stages.output("archives", "archive"),
    log:
        "logs/archives/{archive}.log",
    benchmark:
        "logs/archives/{archive}.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=720,
    params:
        python=stages.python,
        settings=stages.settings("archives"),
        code=stages.code("archives"),
    message:
        "Downloading archive {wildcards.archive}"
    shell:
        "{params.python} -m workflow_scripts.stages.archives --settings {params.settings:q} --code {params.code}"
        " --archive-to {output.archive:q} > {log:q} 2>&1"


rule unpack:
    input:
        unpack(stages.inputs("unpack")),
    output:
        manifest=stages.output("unpack", "manifest"),
    log:
        "logs/unpack/{archive}.log",
    benchmark:
        "logs/unpack/{archive}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=240,
    params:
        python=stages.python,
        settings=stages.settings("unpack"),
        code=stages.code("unpack"),
    message:
        "Unpacking archive {wildcards.archive}"
    shell:
        "{params.python} -m workflow_scripts.stages.unpack --settings {params.settings:q} --code {params.code}"
        " --archive {input.archive:q}"
        " --manifest-to {output.manifest:q} > {log:q} 2>&1"
