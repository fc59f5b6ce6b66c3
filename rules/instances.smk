"""Instance segmentation, on request: masks of boxes, networks that learn from them, mask AP."""


rule instance_truth:
    input:
        unpack(stages.inputs("instance_truth")),
    output:
        truth=stages.output("instance_truth", "truth"),
    log:
        "logs/{dataset}/instance_truth.log",
    benchmark:
        "logs/{dataset}/instance_truth.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(4000),
        runtime=240,
    params:
        python=stages.python,
        settings=stages.settings("instance_truth"),
        code=stages.code("instance_truth"),
    message:
        "Reading the true instances of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.instance_truth --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --rendered {input.rendered:q} --archives {input.archives:q}"
        " --truth-to {output.truth:q} > {log:q} 2>&1"


rule instances:
    input:
        unpack(stages.inputs("instances")),
    output:
        instances=stages.output("instances", "instances"),
    log:
        "logs/{dataset}/seed-{seed}/instances/{instances}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/instances/{instances}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=240,
    params:
        python=stages.python,
        settings=stages.settings("instances"),
        code=stages.code("instances"),
    message:
        "Instances {wildcards.instances} of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.instances --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --masks {input.masks:q} --truth {input.truth:q}"
        " --instances-to {output.instances:q} > {log:q} 2>&1"


rule coco_json:
    input:
        unpack(stages.inputs("coco_json")),
    output:
        annotations=stages.output("coco_json", "annotations"),
    log:
        "logs/{dataset}/seed-{seed}/coco_json/{instances}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/coco_json/{instances}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=120,
    params:
        python=stages.python,
        settings=stages.settings("coco_json"),
        code=stages.code("coco_json"),
    message:
        "Instances {wildcards.instances} of {wildcards.dataset} as COCO has them, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.coco_json --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --instances {input.instances:q}"
        " --annotations-to {output.annotations:q} > {log:q} 2>&1"


rule precision_instances:
    input:
        unpack(stages.inputs("precision_instances")),
    output:
        scores=stages.output("precision_instances", "scores"),
    log:
        "logs/{dataset}/seed-{seed}/precision_instances/{instances}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/precision_instances/{instances}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(8000),
        runtime=240,
    params:
        python=stages.python,
        settings=stages.settings("precision_instances"),
        code=stages.code("precision_instances"),
    message:
        "Mask AP of instances {wildcards.instances} of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.precision --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --artifact {input.artifact:q} --truth {input.truth:q}"
        " --scores-to {output.scores:q} > {log:q} 2>&1"


use rule precision_instances as precision_detections with:
    input:
        unpack(stages.inputs("precision_detections")),
    output:
        scores=stages.output("precision_detections", "scores"),
    log:
        "logs/{dataset}/seed-{seed}/precision_detections/{instances}/{network}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/precision_detections/{instances}/{network}.tsv"
    params:
        settings=stages.settings("precision_detections"),
        code=stages.code("precision_detections"),
    message:
        "Mask AP of detections {wildcards.instances}/{wildcards.network} of {wildcards.dataset}, seed {wildcards.seed}"


rule train_instances:
    input:
        unpack(stages.inputs("train_instances")),
    output:
        weights=stages.output("train_instances", "weights"),
        curve=stages.output("train_instances", "curve"),
    log:
        "logs/{dataset}/seed-{seed}/train_instances/{instances}/{network}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/train_instances/{instances}/{network}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.training_threads("train_instances")
    resources:
        mem_mb=stages.memory(16000),
        runtime=1440,
        gpu=stages.gpus("train_instances"),
    params:
        python=stages.python,
        settings=stages.settings("train_instances"),
        code=stages.code("train_instances"),
        save_every=stages.save_every("train_instances"),
    message:
        "Training {wildcards.network} on instances {wildcards.instances} of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.train_instances --settings {params.settings:q} --code {params.code} --gpus {resources.gpu}"
        " --workers {threads} --save-every {params.save_every}"
        " --index {input.index:q} --images {input.images:q} --instances {input.instances:q} --initial {input.initial:q}"
        " --weights-to {output.weights:q} --curve-to {output.curve:q} > {log:q} 2>&1"


rule detections:
    input:
        unpack(stages.inputs("detections")),
    output:
        detections=stages.output("detections", "detections"),
    log:
        "logs/{dataset}/seed-{seed}/detections/{instances}/{network}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/detections/{instances}/{network}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.workers
    resources:
        mem_mb=stages.memory(8000),
        runtime=240,
        gpu=stages.gpus("detections"),
    params:
        python=stages.python,
        settings=stages.settings("detections"),
        code=stages.code("detections"),
    message:
        "Detections of {wildcards.instances}/{wildcards.network} on {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.detections --settings {params.settings:q} --code {params.code} --gpus {resources.gpu}"
        " --workers {threads}"
        " --index {input.index:q} --images {input.images:q} --weights {input.weights:q}"
        " --detections-to {output.detections:q} > {log:q} 2>&1"


rule mask_ap:
    input:
        unpack(stages.inputs("mask_ap")),
    output:
        mask_ap=report(
            stages.output("mask_ap", "mask_ap"),
            caption="../report/mask_ap.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "average precision of instances"},
        ),
    log:
        "logs/{dataset}/mask_ap.log",
    benchmark:
        "logs/{dataset}/mask_ap.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        python=stages.python,
        settings=stages.settings("mask_ap"),
        code=stages.code("mask_ap"),
    message:
        "The table of instance segmentation of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.mask_ap --settings {params.settings:q} --code {params.code}"
        " --scores {input.scores:q} --mask_ap-to {output.mask_ap:q} > {log:q} 2>&1"
