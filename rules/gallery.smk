"""The gallery: a page to look at what every stage makes of many images."""


rule gallery:
    input:
        unpack(stages.inputs("gallery")),
    output:
        page=stages.output("gallery", "page"),
        listing=stages.output("gallery", "listing"),
        files=directory(stages.folder("gallery")),
    log:
        "logs/{dataset}/gallery.log",
    benchmark:
        "logs/{dataset}/gallery.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: stages.workers
    resources:
        mem_mb=stages.memory(4000),
        runtime=60,
    params:
        python=stages.python,
        settings=stages.settings("gallery"),
        code=stages.code("gallery"),
    message:
        "The gallery of {wildcards.dataset}"
    shell:
        "{params.python} -m workflow_scripts.stages.gallery --settings {params.settings:q} --code {params.code} --workers {threads}"
        " --index {input.index:q} --images {input.images:q} --truth {input.truth:q}"
        " --artifacts {input.artifacts:q} --thresholds {input.thresholds:q}"
        " --page-to {output.page:q} --listing-to {output.listing:q} > {log:q} 2>&1"
