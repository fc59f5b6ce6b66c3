"""Pseudo masks from class activation maps: thresholds, affinities, random walk, dense CRF."""


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
        mem_mb=stages.memory(2000),
        runtime=60,
    params:
        python=stages.python,
        settings=stages.settings("thresholds"),
        code=stages.code("thresholds"),
    message:
        "Choosing the threshold of {wildcards.cam} on the held-out split of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.thresholds --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --truth {input.truth:q} --cams {input.cams:q}"
        " --thresholds-to {output.thresholds:q} > {log:q} 2>&1"


rule affinity_labels:
    input:
        unpack(stages.inputs("affinity_labels")),
    output:
        labels=stages.output("affinity_labels", "labels"),
    log:
        "logs/{dataset}/seed-{seed}/affinity_labels/{affinity}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/affinity_labels/{affinity}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.image_workers("affinity_labels")
    resources:
        mem_mb=stages.memory(4000),
        runtime=240,
    params:
        python=stages.python,
        settings=stages.settings("affinity_labels"),
        code=stages.code("affinity_labels"),
        shard=stages.shard,
    message:
        "Affinity labels {wildcards.affinity} of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.affinity_labels --settings {params.settings:q} --code {params.code}"
        " --workers {threads}"
        " --index {input.index:q} --images {input.images:q} --cams {input.cams:q}"
        " --shard {params.shard:q} --shards {input.shards:q}"
        " --labels-to {output.labels:q} > {log:q} 2>&1"


use rule affinity_labels as affinity_labels_shard with:
    output:
        labels=temp(stages.shard_output("affinity_labels")),
        sidecar=temp(stages.shard_output("affinity_labels", ".json")),
    log:
        "logs/{dataset}/seed-{seed}/affinity_labels/{affinity}.{shard}-of-{shards}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/affinity_labels/{affinity}.{shard}-of-{shards}.tsv"
    message:
        "Affinity labels {wildcards.affinity} of {wildcards.dataset}, seed {wildcards.seed}, shard {wildcards.shard} of {wildcards.shards}"


rule train_affinity:
    input:
        unpack(stages.inputs("train_affinity")),
    output:
        weights=stages.output("train_affinity", "weights"),
        curve=stages.output("train_affinity", "curve"),
    log:
        "logs/{dataset}/seed-{seed}/train_affinity/{affinity}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/train_affinity/{affinity}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.training_threads("train_affinity")
    resources:
        mem_mb=stages.memory(11000),
        runtime=720,
        gpu=stages.gpus("train_affinity"),
    params:
        python=stages.python,
        settings=stages.settings("train_affinity"),
        code=stages.code("train_affinity"),
        save_every=stages.save_every("train_affinity"),
    message:
        "Training affinity network {wildcards.affinity} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.train_affinity --settings {params.settings:q} --code {params.code} --gpus {resources.gpu}"
        " --workers {threads} --save-every {params.save_every}"
        " --index {input.index:q} --images {input.images:q} --labels {input.labels:q} --initial {input.initial:q}"
        " --weights-to {output.weights:q} --curve-to {output.curve:q} > {log:q} 2>&1"


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
    threads: stages.image_workers("masks")
    resources:
        mem_mb=stages.memory(4000),
        runtime=240,
        gpu=stages.gpus("masks"),
    params:
        python=stages.python,
        settings=stages.settings("masks"),
        code=stages.code("masks"),
        shard=stages.shard,
    message:
        "Masks {wildcards.mask} of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.masks --settings {params.settings:q} --code {params.code} --gpus {resources.gpu}"
        " --workers {threads}"
        " --index {input.index:q} --images {input.images:q} --cams {input.cams:q} --thresholds {input.thresholds:q} --truth {input.truth:q} --saliency {input.saliency:q} --affinity {input.affinity:q}"
        " --classifier {input.classifier:q} --masks {input.masks:q}"
        " --shard {params.shard:q} --shards {input.shards:q}"
        " --masks-to {output.masks:q} > {log:q} 2>&1"


use rule masks as masks_shard with:
    output:
        masks=temp(stages.shard_output("masks")),
        sidecar=temp(stages.shard_output("masks", ".json")),
    log:
        "logs/{dataset}/seed-{seed}/masks/{mask}.{shard}-of-{shards}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/masks/{mask}.{shard}-of-{shards}.tsv"
    message:
        "Masks {wildcards.mask} of {wildcards.dataset}, seed {wildcards.seed}, shard {wildcards.shard} of {wildcards.shards}"
