"""Pictures for people: a montage of every system, training curves, the threshold sweep."""


rule montage:
    input:
        unpack(stages.inputs("montage")),
    output:
        montage=report(
            stages.output("montage", "montage"),
            caption="../report/montage.rst",
            category="Images",
            subcategory="{dataset}",
            labels={"system": "{system}"},
        ),
    log:
        "logs/{dataset}/montage/{system}.log",
    benchmark:
        "logs/{dataset}/montage/{system}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=30,
    params:
        python=stages.python,
        settings=stages.settings("montage"),
        code=stages.code("montage"),
    message:
        "Montage of system {wildcards.system} on {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.montage --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --images {input.images:q} --truth {input.truth:q} --artifacts {input.artifacts:q}"
        " --montage-to {output.montage:q} > {log:q} 2>&1"


use rule montage as montage_saliency with:
    input:
        unpack(stages.inputs("montage_saliency")),
    output:
        montage=report(
            stages.output("montage_saliency", "montage"),
            caption="../report/saliency.rst",
            category="Images",
            subcategory="{dataset}",
            labels={"system": "saliency of {cam}"},
        ),
    log:
        "logs/{dataset}/montage_saliency/{cam}.log",
    benchmark:
        "logs/{dataset}/montage_saliency/{cam}.tsv"
    params:
        settings=stages.settings("montage_saliency"),
        code=stages.code("montage_saliency"),
    message:
        "Montage of detected and estimated saliency of {wildcards.cam} on {wildcards.dataset}"


rule curves:
    input:
        unpack(stages.inputs("curves")),
    output:
        curves=report(
            stages.output("curves", "curves"),
            caption="../report/curves.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={"picture": "training curves"},
        ),
        sweep=report(
            stages.output("curves", "sweep"),
            caption="../report/thresholds.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={"picture": "thresholds"},
        ),
    log:
        "logs/{dataset}/curves.log",
    benchmark:
        "logs/{dataset}/curves.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=30,
    params:
        python=stages.python,
        settings=stages.settings("curves"),
        code=stages.code("curves"),
    message:
        "Training curves and threshold sweep of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.curves --settings {params.settings:q} --code {params.code}"
        " --curves {input.curves:q} --sweeps {input.sweeps:q}"
        " --curves-to {output.curves:q} --sweep-to {output.sweep:q} > {log:q} 2>&1"


rule charts:
    input:
        unpack(stages.inputs("charts")),
    output:
        classes=report(
            stages.output("charts", "classes"),
            caption="../report/classes.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={"picture": "every class of the masks"},
        ),
        stages=report(
            stages.output("charts", "stages"),
            caption="../report/stages.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={"picture": "from stage to stage"},
        ),
    log:
        "logs/{dataset}/charts.log",
    benchmark:
        "logs/{dataset}/charts.tsv"
    localrule: True
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=10,
    params:
        python=stages.python,
        settings=stages.settings("charts"),
        code=stages.code("charts"),
    message:
        "Charts of the table of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.charts --settings {params.settings:q} --code {params.code}"
        " --miou {input.miou:q} --classes-to {output.classes:q} --stages-to {output.stages:q} > {log:q} 2>&1"


rule filling_rates:
    input:
        unpack(stages.inputs("filling_rates")),
    output:
        violins=report(
            stages.output("filling_rates", "violins"),
            caption="../report/filling_rates.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={"picture": "filling rates of boxes"},
        ),
        rates=report(
            stages.output("filling_rates", "rates"),
            caption="../report/filling_rates.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "filling rates of boxes"},
        ),
    log:
        "logs/{dataset}/filling_rates.log",
    benchmark:
        "logs/{dataset}/filling_rates.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: 1
    resources:
        mem_mb=stages.memory(2000),
        runtime=60,
    params:
        python=stages.python,
        settings=stages.settings("filling_rates"),
        code=stages.code("filling_rates"),
    message:
        "Filling rates of the boxes of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.filling_rates --settings {params.settings:q} --code {params.code}"
        " --index {input.index:q} --truth {input.truth:q} --masks {input.masks:q}"
        " --violins-to {output.violins:q} --rates-to {output.rates:q} > {log:q} 2>&1"


rule pictures:
    input:
        stages.pictures,
    output:
        touch("results/{dataset}/pictures/done.txt"),
    localrule: True
    params:
        python=stages.python,
        made_from=stages.pictures,


rule erasing:
    input:
        unpack(stages.inputs("erasing")),
    output:
        picture=report(
            stages.output("erasing", "picture"),
            caption="../report/erasing.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={"picture": "erasing by {classifier}"},
        ),
    log:
        "logs/{dataset}/erasing/{classifier}.log",
    benchmark:
        "logs/{dataset}/erasing/{classifier}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.training_threads("erasing")
    resources:
        mem_mb=stages.memory(16000),
        runtime=1440,
        gpu=stages.gpus("erasing"),
    params:
        python=stages.python,
        settings=stages.settings("erasing"),
        code=stages.code("erasing"),
    message:
        "What classifier {wildcards.classifier} erases on {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.erasing --settings {params.settings:q} --code {params.code} --gpus {resources.gpu}"
        " --workers {threads} --index {input.index:q} --images {input.images:q} --initial {input.initial:q}"
        " --picture-to {output.picture:q} > {log:q} 2>&1"


rule confidence:
    input:
        unpack(stages.inputs("confidence")),
    output:
        picture=report(
            stages.output("confidence", "picture"),
            caption="../report/confidence.rst",
            category="Pictures",
            subcategory="{dataset}",
            labels={"picture": "confidence of {system}"},
        ),
    log:
        "logs/{dataset}/confidence/{system}.log",
    benchmark:
        "logs/{dataset}/confidence/{system}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.training_threads("confidence")
    resources:
        mem_mb=stages.memory(16000),
        runtime=1440,
        gpu=stages.gpus("confidence"),
    params:
        python=stages.python,
        settings=stages.settings("confidence"),
        code=stages.code("confidence"),
    message:
        "How sure the segmenter of {wildcards.system} becomes of its labels on {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.confidence --settings {params.settings:q} --code {params.code} --gpus {resources.gpu}"
        " --workers {threads} --index {input.index:q} --images {input.images:q} --masks {input.masks:q}"
        " --truth {input.truth:q} --initial {input.initial:q}"
        " --picture-to {output.picture:q} > {log:q} 2>&1"
