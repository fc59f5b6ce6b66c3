"""The configuration, resolved once; rules ask it for inputs, settings and code of their stage."""

from workflow_scripts.workflow import planned
from workflow_scripts.workflow import terminal
from workflow_scripts.config.planning.rules import Rules, kept_between_runs
from workflow_scripts.base.errors import UserError

# A module's prefix moves results and logs. What is in `data/` stays, as settings name files there.
MOVES_DATA = workflow.modifier.path_modifier.replace_prefix("data/x") != "data/x"

try:
    stages = Rules(
        settings,
        PYTHON,
        in_place=local if MOVES_DATA else str,
        cores=lambda: runs.cores(workflow),
        warn=logger.warning,
    )
except UserError as error:
    mixed = workflow.modifier.skip_configfile and "config: unknown key" in str(error)
    hint = "; keys of your own workflow do not belong here; give the module a section, as config: config['wsss']"
    raise WorkflowError(f"{error}{hint if mixed else ''}")

if workflow.is_main_process:
    terminal.tell(stages.plan, with_commands=workflow.output_settings.printshellcmds)
    planned.refuse_what_cannot_finish()

# What rules with `cache` make: whether it is taken from, and given to, a folder that several runs share.
CACHED = kept_between_runs(workflow.workflow_settings.cache)

# A block of the configuration, or a variant of one that a tuning tries.
BLOCK = r"[A-Za-z0-9]\w*(?:@[\w.,+=-]+)?"
NAME = r"[A-Za-z0-9]\w*"


wildcard_constraints:
    **dict.fromkeys(
        "saliency classifier cam affinity mask segmenter prediction".split(), BLOCK
    ),
    **dict.fromkeys("archive dataset instances network tuning".split(), NAME),
    **dict.fromkeys("seed shard shards".split(), r"\d+"),
    file=r"[0-9a-f]{12}-[\w.-]+",
    system=rf"(?!(?:classes|curves|filling_rates|stages|thresholds)\.png){NAME}",  # other rules make these pictures
    table=rf"(?!all\.){NAME}",  # all.md is made by another rule
