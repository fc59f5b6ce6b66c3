"""Saliency maps: from a folder, or by a detector, and the training of those that are networks."""


rule train_saliency:
    input:
        unpack(stages.inputs("train_saliency")),
    output:
        weights=stages.output("train_saliency", "weights"),
        curve=stages.output("train_saliency", "curve"),
        weights_sidecar=stages.sidecar("train_saliency", "weights"),
        curve_sidecar=stages.sidecar("train_saliency", "curve"),
    log:
        "logs/{dataset}/train_saliency/{saliency}.log",
    cache: CACHED
    conda:
        "../envs/workflow.yaml"
    threads: stages.torch_threads
    resources:
        mem_mb=stages.memory(8000),
        runtime=1440,
        gpu=stages.gpus("train_saliency"),
    params:
        python=stages.python,
        settings=stages.settings("train_saliency"),
        code=stages.code("train_saliency"),
        save_every=stages.save_every("train_saliency"),
    message:
        "Training saliency network {wildcards.saliency}"
    shell:
        "{params.python} -m workflow_scripts.stages.train_saliency --settings {params.settings:q} --code {params.code} --gpus {resources.gpu}"
        " --workers {threads} --save-every {params.save_every}"
        " --index {input.index:q} --images {input.images:q} --maps {input.maps:q} --initial {input.initial:q}"
        " --weights-to {output.weights:q} --curve-to {output.curve:q} > {log:q} 2>&1"


rule saliency:
    input:
        unpack(stages.inputs("saliency")),
    output:
        saliency=stages.output("saliency", "saliency"),
        sidecar=stages.sidecar("saliency", "saliency"),
    log:
        "logs/{dataset}/saliency/{saliency}.log",
    cache: CACHED
    conda:
        "../envs/workflow.yaml"
    threads: stages.image_workers("saliency")
    resources:
        mem_mb=stages.memory(8000),
        runtime=720,
        gpu=stages.gpus("saliency"),
    params:
        python=stages.python,
        settings=stages.settings("saliency"),
        code=stages.code("saliency"),
        shard=stages.shard,
    message:
        "Saliency maps {wildcards.saliency} of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.saliency --settings {params.settings:q} --code {params.code} --gpus {resources.gpu} --workers {threads}"
        " --index {input.index:q} --images {input.images:q} --weights {input.weights:q}"
        " --shard {params.shard:q} --shards {input.shards:q}"
        " --saliency-to {output.saliency:q} > {log:q} 2>&1"


use rule saliency as saliency_shard with:
    output:
        saliency=temp(stages.shard_output("saliency")),
        sidecar=temp(stages.shard_output("saliency", ".json")),
    log:
        "logs/{dataset}/saliency/{saliency}.{shard}-of-{shards}.log",
    benchmark:
        "logs/{dataset}/saliency/{saliency}.{shard}-of-{shards}.tsv"
    cache: False
    message:
        "Saliency maps {wildcards.saliency} of {wildcards.dataset}, shard {wildcards.shard} of {wildcards.shards}"


rule estimated_saliency:
    input:
        unpack(stages.inputs("estimated_saliency")),
    output:
        saliency=stages.output("estimated_saliency", "saliency"),
    log:
        "logs/{dataset}/seed-{seed}/estimated_saliency/{cam}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/estimated_saliency/{cam}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(3000),
        runtime=120,
    params:
        python=stages.python,
        settings=stages.settings("estimated_saliency"),
        code=stages.code("estimated_saliency"),
    message:
        "Saliency estimated by the maps {wildcards.cam} of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.estimated_saliency --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --cams {input.cams:q} --saliency {input.saliency:q}"
        " --saliency-to {output.saliency:q} > {log:q} 2>&1"


rule saliency_table:
    input:
        unpack(stages.inputs("saliency_table")),
    output:
        saliency=report(
            stages.output("saliency_table", "saliency"),
            caption="../report/saliency.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "saliency"},
        ),
    log:
        "logs/{dataset}/saliency_table.log",
    benchmark:
        "logs/{dataset}/saliency_table.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        python=stages.python,
        settings=stages.settings("saliency_table"),
        code=stages.code("saliency_table"),
    message:
        "The table of saliency maps of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.saliency_table --settings {params.settings:q} --code {params.code}"
        " --scores {input.scores:q} --saliency-to {output.saliency:q} > {log:q} 2>&1"
