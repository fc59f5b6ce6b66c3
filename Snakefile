"""Weakly supervised semantic segmentation: from image-level labels to a table of mIoU.

Targets: results/{dataset}/miou.csv, and the pictures of a data set by results/{dataset}/pictures/done.txt. On request:
results/{dataset}/tune/{tuning}.csv, results/{dataset}/saliency.csv, results/{dataset}/pictures/saliency/{cam}.png,
results/{dataset}/cost.csv, results/{dataset}/mask_ap.csv (instance segmentation), results/{dataset}/tables/{table}.csv,
results/{dataset}/tables/all.md, results/{dataset}/boundaries.csv, results/{dataset}/confusion_ratios.csv,
results/{dataset}/gallery/index.html, results/{dataset}/seed-{seed}/doubt/{mask}.csv (which masks are doubtful),
results/{dataset}/checks.csv (what is suspicious in a data set).
"""

import gc
import os
import sys

from snakemake.utils import min_version

min_version("9.20")

# A plan is many objects that stay: to look for garbage among them all, time and again, takes a fifth of its time.
gc.freeze()
gc.set_threshold(100_000)

# This tree, also where another workflow uses it as a module.
ROOT = str(workflow.current_basedir)
PYTHON_PATH = f"{ROOT}/envs/python"
if not os.path.isdir(PYTHON_PATH):
    raise WorkflowError(
        f"{ROOT}: no checkout of this workflow; name its Snakefile on this disk, as github(...) fetches that alone"
    )
# The stages are modules of this tree, whichever folder Snakemake runs in; nothing else in it is.
sys.path[:] = [
    PYTHON_PATH,
    *(path for path in sys.path if os.path.realpath(path) != os.path.realpath(ROOT)),
]

from workflow_scripts.workflow import runs
from workflow_scripts.config.layers import of_workflow
from workflow_scripts.base.errors import UserError

# The settings are read here, as all commands read them; below, Snakemake is told that the file belongs to the workflow.
try:
    settings = of_workflow(workflow, config)
except UserError as error:
    sys.exit(f"error: {error}")

PYTHON = runs.prepare(workflow, ROOT)  # the settings say where modules also come from


configfile: f"{ROOT}/config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/stages.smk"


# Rules that say `localrule` run where Snakemake does, not on a cluster: what needs the internet, which nodes often lack, and
# what takes a second.
rule all:
    default_target: True
    input:
        "results/demo/miou.csv",
    localrule: True


rule pictures:
    input:
        stages.pictures,
    output:
        touch("results/{dataset}/pictures/done.txt"),
    localrule: True
    params:
        python=stages.python,
        made_from=stages.pictures,
