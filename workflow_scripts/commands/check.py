"""Check every image, label, box and mask of a data set, before anything else is run.

    wsss check results/mine [--configfile mine.yaml]

What is impossible is told and ends with 1. What is suspicious is listed, a line a check, in results/mine/checks.csv, with pictures in
results/mine/checks.png; all of it, a line each, in results/mine/checks/. It is what `snakemake results/mine/checks.csv` makes.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.commands.command_line import add_configfile, command_parser, load_config
from workflow_scripts.config.layers import SHIPPED
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.data.checks import told
from workflow_scripts.store.csv_files import read_table


def main(arguments: Sequence[str]) -> int:
    """The command line; exit status 1 if something is impossible."""
    parser = command_parser("check", __doc__)
    parser.add_argument("datasets", nargs="+", help="results/{dataset} or {dataset}")
    parser.add_argument("--cores", default="all", help="as given to snakemake (all)")
    add_configfile(parser)
    given = parser.parse_args(arguments)
    names = [Path(name).name for name in given.datasets]
    plan = Plan(load_config(given.configfile))
    targets = [output_path("checks", dataset=name) for name in names if plan.job("checks", {"dataset": name})]
    overlays = ["--configfile", *given.configfile] if given.configfile else []
    snakemake = [sys.executable, "-P", "-m", "snakemake", "--snakefile", str(SHIPPED.with_name("Snakefile"))]
    quiet = ["--quiet", "host", "progress", "reason", "rules"]
    done = subprocess.run([*snakemake, "--cores", given.cores, *quiet, *overlays, "--", *targets])
    if done.returncode:
        return 1
    print("\n".join(line for name in names for line in found(name)))
    return 0


def found(dataset: str) -> list[str]:
    """What was found, for people: a line a check, and where more is said."""
    table, picture = (output_path("checks", output=name, dataset=dataset) for name in ("checks", "picture"))
    lines = [told(*row) for row in read_table(table, dtype=str).itertuples(index=False)]
    number = f"{len(lines)} check{'s' * (len(lines) != 1)}" if lines else "no check"
    return [
        f"Data set {dataset}: nothing is impossible; {number} found something suspicious",
        *lines,
        f"Listed in {table}, shown in {picture}",
    ]
