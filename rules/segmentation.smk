"""Segmentation networks trained on masks, and their predictions."""


rule train_segmenter:
    input:
        unpack(stages.inputs("train_segmenter")),
    output:
        weights=stages.output("train_segmenter", "weights"),
        curve=stages.output("train_segmenter", "curve"),
    log:
        "logs/{dataset}/seed-{seed}/train_segmenter/{mask}/{segmenter}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/train_segmenter/{mask}/{segmenter}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.training_threads("train_segmenter")
    resources:
        mem_mb=stages.memory(8000),
        runtime=720,
        gpu=stages.gpus("train_segmenter"),
    params:
        python=stages.python,
        settings=stages.settings("train_segmenter"),
        code=stages.code("train_segmenter"),
        save_every=stages.save_every("train_segmenter"),
    message:
        "Training segmenter {wildcards.segmenter} on masks {wildcards.mask} of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.train_segmenter --settings {params.settings:q} --code {params.code} --gpus {resources.gpu}"
        " --workers {threads} --save-every {params.save_every}"
        " --index {input.index:q} --images {input.images:q} --masks {input.masks:q} --initial {input.initial:q}"
        " --weights-to {output.weights:q} --curve-to {output.curve:q} > {log:q} 2>&1"


rule predictions:
    input:
        unpack(stages.inputs("predictions")),
    output:
        predictions=stages.output("predictions", "predictions"),
    log:
        "logs/{dataset}/seed-{seed}/predictions/{mask}/{segmenter}/{prediction}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/predictions/{mask}/{segmenter}/{prediction}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.image_workers("predictions")
    resources:
        mem_mb=stages.memory(8000),
        runtime=240,
        gpu=stages.gpus("predictions"),
    params:
        python=stages.python,
        settings=stages.settings("predictions"),
        code=stages.code("predictions"),
        shard=stages.shard,
    message:
        "Predictions {wildcards.prediction} of {wildcards.mask}/{wildcards.segmenter} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.predictions --settings {params.settings:q} --code {params.code} --gpus {resources.gpu}"
        " --workers {threads}"
        " --index {input.index:q} --images {input.images:q} --weights {input.weights:q} --soft {input.soft:q}"
        " --shard {params.shard:q} --shards {input.shards:q}"
        " --predictions-to {output.predictions:q} > {log:q} 2>&1"


use rule predictions as predictions_shard with:
    output:
        predictions=temp(stages.shard_output("predictions")),
        sidecar=temp(stages.shard_output("predictions", ".json")),
    log:
        "logs/{dataset}/seed-{seed}/predictions/{mask}/{segmenter}/{prediction}.{shard}-of-{shards}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/predictions/{mask}/{segmenter}/{prediction}.{shard}-of-{shards}.tsv"
    message:
        "Predictions {wildcards.prediction} of {wildcards.mask}/{wildcards.segmenter} on {wildcards.dataset}, seed {wildcards.seed}, shard {wildcards.shard} of {wildcards.shards}"


rule submission:
    input:
        unpack(stages.inputs("submission")),
    output:
        submission=stages.output("submission", "submission"),
    log:
        "logs/{dataset}/seed-{seed}/submission/{mask}/{segmenter}/{prediction}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/submission/{mask}/{segmenter}/{prediction}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=60,
    params:
        python=stages.python,
        settings=stages.settings("submission"),
        code=stages.code("submission"),
    message:
        "Packing predictions {wildcards.prediction} of {wildcards.mask}/{wildcards.segmenter} for the server of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.submission --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --predictions {input.predictions:q}"
        " --submission-to {output.submission:q} > {log:q} 2>&1"
