"""Classifiers from image-level labels, and their class activation maps."""


rule train_classifier:
    input:
        unpack(stages.inputs("train_classifier")),
    output:
        weights=stages.output("train_classifier", "weights"),
        curve=stages.output("train_classifier", "curve"),
    log:
        "logs/{dataset}/seed-{seed}/train_classifier/{classifier}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/train_classifier/{classifier}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.training_threads("train_classifier")
    resources:
        mem_mb=stages.memory(8000),
        runtime=720,
        gpu=stages.gpus("train_classifier"),
    params:
        python=stages.python,
        settings=stages.settings("train_classifier"),
        code=stages.code("train_classifier"),
        save_every=stages.save_every("train_classifier"),
    message:
        "Training classifier {wildcards.classifier} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.train_classifier --settings {params.settings:q} --code {params.code} --gpus {resources.gpu}"
        " --workers {threads} --save-every {params.save_every}"
        " --index {input.index:q} --images {input.images:q} --saliency {input.saliency:q} --initial {input.initial:q}"
        " --weights-to {output.weights:q} --curve-to {output.curve:q} > {log:q} 2>&1"


rule classification:
    input:
        unpack(stages.inputs("classification")),
    output:
        scores=stages.output("classification", "scores"),
    log:
        "logs/{dataset}/seed-{seed}/classification/{classifier}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/classification/{classifier}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(4000),
        runtime=60,
        gpu=stages.gpus("classification"),
    params:
        python=stages.python,
        settings=stages.settings("classification"),
        code=stages.code("classification"),
    message:
        "Mean average precision of {wildcards.classifier} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.classification --settings {params.settings:q} --code {params.code} --gpus {resources.gpu}"
        " --index {input.index:q} --images {input.images:q} --weights {input.weights:q}"
        " --scores-to {output.scores:q} > {log:q} 2>&1"


rule cams:
    input:
        unpack(stages.inputs("cams")),
    output:
        cams=stages.output("cams", "cams"),
    log:
        "logs/{dataset}/seed-{seed}/cams/{cam}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/cams/{cam}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.image_workers("cams")
    resources:
        mem_mb=stages.memory(8000),
        runtime=240,
        gpu=stages.gpus("cams"),
    params:
        python=stages.python,
        settings=stages.settings("cams"),
        code=stages.code("cams"),
        shard=stages.shard,
    message:
        "Class activation maps {wildcards.cam} of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.cams --settings {params.settings:q} --code {params.code} --gpus {resources.gpu}"
        " --workers {threads}"
        " --index {input.index:q} --images {input.images:q} --weights {input.weights:q}"
        " --shard {params.shard:q} --shards {input.shards:q}"
        " --cams-to {output.cams:q} > {log:q} 2>&1"


use rule cams as cams_shard with:
    output:
        cams=temp(stages.shard_output("cams")),
        sidecar=temp(stages.shard_output("cams", ".json")),
    log:
        "logs/{dataset}/seed-{seed}/cams/{cam}.{shard}-of-{shards}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/cams/{cam}.{shard}-of-{shards}.tsv"
    message:
        "Class activation maps {wildcards.cam} of {wildcards.dataset}, seed {wildcards.seed}, shard {wildcards.shard} of {wildcards.shards}"
