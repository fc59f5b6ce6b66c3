"""Weakly supervised semantic segmentation: from image-level labels to a table of mIoU.

Targets: results/{dataset}/miou.csv, and the pictures of a data set by results/{dataset}/pictures/done.txt. On request:
results/{dataset}/tune/{tuning}.csv, results/{dataset}/saliency.csv, results/{dataset}/pictures/saliency/{cam}.png,
results/{dataset}/cost.csv, results/{dataset}/mask_ap.csv (instance segmentation), results/{dataset}/tables/{table}.csv,
results/{dataset}/tables/all.md, results/{dataset}/boundaries.csv, results/{dataset}/confusion_ratios.csv,
results/{dataset}/gallery/index.html.
"""

import shlex
import sys

from snakemake.utils import min_version

min_version("9.20")

# The stages are modules of this tree, whichever folder Snakemake runs in.
sys.path.insert(0, workflow.basedir)

from workflow_scripts import runs, stopping
from workflow_scripts.config.layers import of_workflow
from workflow_scripts.errors import UserError

runs.end_aside()
if workflow.is_main_process:
    runs.enter()
    outlast = ""
else:
    outlast = runs.outlast_the_stage()

# Jobs end when this process does, however it ends.
variables = f"PYTHONPATH={shlex.quote(workflow.basedir)} {stopping.PARENT}={stopping.this_process()}"
shell.prefix(f"set -euo pipefail; export {variables}; {outlast}")

# The settings are read here, as all commands read them; below, Snakemake is told that the file belongs to the workflow.
try:
    settings = of_workflow(workflow, config)
except UserError as error:
    sys.exit(f"error: {error}")


configfile: f"{workflow.basedir}/config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/saliency.smk"
include: "rules/classifiers.smk"
include: "rules/masks.smk"
include: "rules/segmentation.smk"
include: "rules/scores.smk"
include: "rules/pictures.smk"
include: "rules/gallery.smk"
include: "rules/tune.smk"
include: "rules/cost.smk"
include: "rules/instances.smk"
include: "rules/tables.smk"


# Where Snakemake runs, not on a cluster: what needs the internet, which nodes often lack, and what takes a second.
localrules:
    all,
    weights,
    archives,
    pictures,
    miou,
    charts,
    mask_ap,
    saliency_table,
    boundary_table,
    confusion_table,
    table,
    tables,


rule all:
    default_target: True
    input:
        "results/demo/miou.csv",
