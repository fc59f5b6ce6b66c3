"""Scores of every stage against the truth, and the table."""


rule score_masks:
    input:
        unpack(stages.inputs("score_masks")),
    output:
        scores=stages.output("score_masks", "scores"),
    log:
        "logs/{dataset}/seed-{seed}/score_masks/{mask}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/score_masks/{mask}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=60,
    params:
        python=stages.python,
        settings=stages.settings("score_masks"),
        code=stages.code("score_masks"),
    message:
        "Scoring masks {wildcards.mask} of {wildcards.dataset}, seed {wildcards.seed}"
    shell:
        "{params.python} -m workflow_scripts.stages.scores --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --artifact {input.artifact:q} --truth {input.truth:q} --thresholds {input.thresholds:q}"
        " --scores-to {output.scores:q} > {log:q} 2>&1"


use rule score_masks as score_saliency with:
    input:
        unpack(stages.inputs("score_saliency")),
    output:
        scores=stages.output("score_saliency", "scores"),
    log:
        "logs/{dataset}/score_saliency/{saliency}.log",
    benchmark:
        "logs/{dataset}/score_saliency/{saliency}.tsv"
    params:
        settings=stages.settings("score_saliency"),
        code=stages.code("score_saliency"),
    message:
        "Scoring saliency {wildcards.saliency} of {wildcards.dataset}"


use rule score_masks as score_estimated_saliency with:
    input:
        unpack(stages.inputs("score_estimated_saliency")),
    output:
        scores=stages.output("score_estimated_saliency", "scores"),
    log:
        "logs/{dataset}/seed-{seed}/score_estimated_saliency/{cam}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/score_estimated_saliency/{cam}.tsv"
    params:
        settings=stages.settings("score_estimated_saliency"),
        code=stages.code("score_estimated_saliency"),
    message:
        "Scoring the saliency estimated by {wildcards.cam} of {wildcards.dataset}, seed {wildcards.seed}"


use rule score_masks as score_cams with:
    input:
        unpack(stages.inputs("score_cams")),
    output:
        scores=stages.output("score_cams", "scores"),
    log:
        "logs/{dataset}/seed-{seed}/score_cams/{cam}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/score_cams/{cam}.tsv"
    params:
        settings=stages.settings("score_cams"),
        code=stages.code("score_cams"),
    message:
        "Scoring class activation maps {wildcards.cam} of {wildcards.dataset}, seed {wildcards.seed}"


use rule score_masks as score_predictions with:
    input:
        unpack(stages.inputs("score_predictions")),
    output:
        scores=stages.output("score_predictions", "scores"),
    log:
        "logs/{dataset}/seed-{seed}/score_predictions/{mask}/{segmenter}/{prediction}.log",
    benchmark:
        "logs/{dataset}/seed-{seed}/score_predictions/{mask}/{segmenter}/{prediction}.tsv"
    params:
        settings=stages.settings("score_predictions"),
        code=stages.code("score_predictions"),
    message:
        "Scoring predictions {wildcards.mask}/{wildcards.segmenter}/{wildcards.prediction} of {wildcards.dataset}, seed {wildcards.seed}"


rule miou:
    input:
        unpack(stages.inputs("miou")),
    output:
        miou=report(
            stages.output("miou", "miou"),
            caption="../report/miou.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "mIoU"},
        ),
        groups=report(
            stages.output("miou", "groups"),
            caption="../report/miou_by_group.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "mIoU by labels and size"},
        ),
        inputs=report(
            stages.output("miou", "inputs"),
            caption="../report/inputs.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "what systems are given"},
        ),
    log:
        "logs/{dataset}/miou.log",
    benchmark:
        "logs/{dataset}/miou.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        python=stages.python,
        settings=stages.settings("miou"),
        code=stages.code("miou"),
    message:
        "The table of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.miou --settings {params.settings:q} --code {params.code}"
        " --scores {input.scores:q}"
        " --miou-to {output.miou:q} --groups-to {output.groups:q} --inputs-to {output.inputs:q} > {log:q} 2>&1"
