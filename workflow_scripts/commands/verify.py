"""Check results against the configuration and the code, without Snakemake's own memory.

    wsss verify results/voc [--configfile mine.yaml]

    wsss verify --deep results/voc

Every artifact of the data set's plan is compared with its sidecar: settings, code, digests of the parents and its own
bytes. Prints one line for each that is stale, corrupt, missing, foreign or unfinished, and exits with 1 if there is
any. Photographs, lists and models that are gone or of another checksum are told, too, and what was made under another
version of torch, numpy or the dense CRF, which is no fault. With --deep, what is up to date is also read: shapes, types
and ranges, the images of the index, the layers of networks, tables and pictures, so that an artifact is found that was
written wrong. Snakemake notices stale artifacts by itself as long as `.snakemake/` is there; it cannot when results were
copied without it.
"""

import importlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from workflow_scripts.base.digests import file_sha256
from workflow_scripts.base.errors import UserError
from workflow_scripts.base.version import VERSION
from workflow_scripts.commands.command_line import add_configfile, command_parser, load_config
from workflow_scripts.commands.presence import checked, data_needs, merged
from workflow_scripts.config.planning.changes import changes
from workflow_scripts.config.planning.needs import of_job, version
from workflow_scripts.config.planning.outputs import output_path
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.planning.stages import STAGES
from workflow_scripts.data.index import Index, read_index
from workflow_scripts.store.folders import listed
from workflow_scripts.store.provenance import read_sidecar, sidecar_path

BEFORE_INDEX = ("render", "index", "train_saliency", "unpack", "archives", "weights")
IN_DATA = {"archive", "list", "table", "images"}  # of a data set, which is looked at apart
# Packages that decide bytes, and the begin of the names of modules that use them.
DECIDING = {"torch": ("networks", "training"), "numpy": ("",), "pydensecrf2": ("refine.dense_crf",)}
SHARD = re.compile(r"\.\d+-of-\d+(\.json)?$")


def check(plan: Plan, dataset: str, deep: bool = False) -> Iterator[tuple[str, str, str]]:
    """Yield (state, path, reason) of every artifact that is not as the configuration and the code would make it.

    States: missing, foreign (no sidecar, or no artifact of this configuration), corrupt, stale, unfinished (what a
    stopped training has saved, and shards), and with `deep` wrong (its content). An artifact made from one that is stale
    or wrong is stale too.
    """
    contents = Contents(output_path("index", dataset=dataset)) if deep else None
    known: set[str] = set()
    bad: set[str] = set()
    plan.config.dataset(dataset)  # told first if there is none
    requested = [path for path in plan.on_request(dataset) if Path(path).exists()]
    for stage, wildcards in plan.jobs(dataset, *requested):
        job = plan.job(stage, wildcards)
        parents = [path for value in job.inputs.values() for path in ([value] if isinstance(value, str) else value)]
        for name, path in plan.outputs(stage, wildcards).items():
            known |= {path, str(sidecar_path(path))}
            settings = plan.settings(stage, wildcards)
            found = _state(plan, path, settings, plan.code(stage, wildcards), parents, bad)
            if contents and not found:
                found = contents.wrong(path, stage, name, settings)
            if found:
                bad.add(path)
                yield found[0], path, found[1]
        for folder in STAGES[stage].folder.values():
            made = plan.outputs(stage, wildcards)
            if bad & {*made.values()}:  # told already; its files are not told one by one
                known |= {str(path) for path in Path(folder.format(**wildcards)).rglob("*")}
            else:
                files = listed(made["listing"])
                known |= files.keys()
                yield from _files(files)
    for file in sorted(Path("results", dataset).rglob("*")):
        path = str(file)
        if not file.is_file() or path in known or file.name.startswith(".") or file.name == "done.txt":
            continue
        if file.suffix == ".state" and path.removesuffix(".state") in known:
            yield "unfinished", path, "a training was stopped; it goes on from here when it is run again"
        elif SHARD.sub("", path) in known:
            yield "unfinished", path, "a shard of a job that was stopped; it is used when it is run again with as many"
        else:
            yield "foreign", path, "no artifact of this configuration; another one made it, or it was put there"
    yield from _given(plan, dataset, plan.jobs(dataset, *requested))


def _given(plan: Plan, dataset: str, jobs: Iterable[tuple[str, dict[str, str]]]) -> Iterator[tuple[str, str, str]]:
    """What of the user's and of libraries' files that artifacts are made from is no longer there or has other bytes."""
    for need in merged(data_needs(plan.config, dataset)):
        if need.blocks:
            yield "missing", need.path, f"{need.what} of {need.user}: {need.state}; restore what was there"
    for need in dict.fromkeys(need for stage, names in jobs for need in of_job(plan.config, stage, names)):
        found = checked(need)
        if os.path.isfile(need.path) and found.blocks and need.what not in IN_DATA:
            yield "wrong", need.path, f"{need.what}: {found.state}; what was made from it may be wrong, too"


def other_versions(plan: Plan, dataset: str) -> Iterator[tuple[str, str]]:
    """Artifacts that were made under another version of a package that decides their bytes, and which."""
    requested = [path for path in plan.on_request(dataset) if Path(path).exists()]
    for stage, wildcards in plan.jobs(dataset, *requested):
        for path in plan.outputs(stage, wildcards).values():
            record = read_sidecar(path) or {}
            made, modules = record.get("versions", {}), record.get("modules", [])
            told = [
                f"{name} {made[name]} (here {version(name) or 'none'})"
                for name, users in DECIDING.items()
                if made.get(name) not in {None, version(name)} and any(module.startswith(users) for module in modules)
            ]
            if told:
                yield path, f"made under {', '.join(told)}"


class Contents:
    """What artifacts hold, compared with the index of their data set."""

    def __init__(self, index: str):
        self.path = index
        self.faults = importlib.import_module(
            "workflow_scripts.commands.contents"
        ).faults  # torch, which takes seconds to import

    @cached_property
    def index(self) -> Index | None:
        return read_index(self.path) if Path(self.path).exists() else None

    def wrong(self, path: str, stage: str, output: str, settings: str) -> tuple[str, str] | None:
        """State and reason, where there is one."""
        about = json.loads(settings)
        index = None if stage in BEFORE_INDEX else self.index
        found = list(self.faults(path, stage, output, about, index))
        return ("wrong", f"{'; '.join(found)}; delete it and run again") if found else None


def _files(files: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    """What of a listed folder's files is missing or has other bytes."""
    for path, digest in files.items():
        if not Path(path).exists():
            yield "missing", path, "its folder is incomplete; delete it and run again"
        elif file_sha256(path) != digest:
            yield "corrupt", path, "its bytes are not those that its stage wrote; delete its folder and run again"


def _state(
    plan: Plan, path: str, settings: str, code: str, parents: list[str], bad: set[str]
) -> tuple[str, str] | None:
    if not Path(path).exists():
        return "missing", "run snakemake to make it"
    record = read_sidecar(path)
    if record is None:
        return "foreign", f"no readable {sidecar_path(path).name} says how it was made"
    if record["sha256"] != file_sha256(path):
        return "corrupt", "its bytes are not those that its stage wrote; delete it and run again"
    wanted = json.loads(settings)
    if record["settings"] != wanted:
        return "stale", f"settings changed: {', '.join(changes(path, record['settings'], wanted, plan))}"
    if record["code"] != code:
        made = record.get("versions", {}).get("wsss")
        return "stale", "the code of its stage changed" + (
            f" since version {made}" if made not in {None, VERSION} else ""
        )
    for parent in parents:
        if parent in bad:
            return "stale", f"made from {parent}, which is not up to date"
        recorded = record["parents"].get(parent)
        parent_record = read_sidecar(parent)
        digest = parent_record["sha256"] if parent_record else file_sha256(parent) if Path(parent).exists() else None
        if recorded != digest:
            return "stale", f"made from another {parent}"
    return None


def main(arguments: Sequence[str]) -> int:
    """The command line; exit status 1 if anything is not up to date."""
    parser = command_parser("verify", __doc__)
    parser.add_argument("results", type=Path, help="results/{dataset}")
    parser.add_argument("--deep", action="store_true", help="read what is up to date, and check what it holds")
    add_configfile(parser)
    given = parser.parse_args(arguments)
    if given.results.parent.name != "results":
        raise UserError(f"{given.results}: expected results/{{dataset}}, in the folder that snakemake ran in")
    plan = Plan(load_config(given.configfile))
    found = list(check(plan, given.results.name, given.deep))
    others = list(other_versions(plan, given.results.name))
    for state, path, reason in found:
        print(f"{state:10} {path}: {reason}")
    for path, reason in others:
        print(f"{'version':10} {path}: {reason}; its bytes may differ from those that would be made now")
    print(f"{given.results}: {f'{len(found)} artifacts are not up to date' if found else 'up to date'}")
    return 1 if found else 0
