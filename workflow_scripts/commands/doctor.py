"""Say what the systems of a data set need, what of it is there, and what they will cost; nothing is downloaded or run.

    wsss doctor results/voc [--configfile mine.yaml]

    wsss doctor results/voc/tables/eps_table_4.csv results/voc/mask_ap.csv

Prints this machine, every file and package that is needed, present or missing, with size, checksum and where it is to be
had, and for every system of the table, or every file that is named, whether all is there, the disk it takes and the time.
Exits with 1 if anything is missing.
"""

import math
import os
import platform
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import torch

from workflow_scripts.base.errors import UserError
from workflow_scripts.commands.command_line import add_configfile, command_parser, load_config
from workflow_scripts.commands.estimates import Estimates
from workflow_scripts.commands.presence import checked, data_needs, merged
from workflow_scripts.config.planning.needs import CRF_PACKAGE, PRESENT, Need, of_job, of_limit, size, version
from workflow_scripts.config.planning.outputs import maker
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config

PACKAGES = ("torch", "torchvision", "snakemake", "h5py", "safetensors", CRF_PACKAGE)
DONE = re.compile("results/([^/]+)/pictures/done.txt")
OF_DATA = {"index", "truth", "unpack"}  # stages whose needs are those of a data set


def machine() -> list[tuple[str, str]]:
    """What this machine has: cores, memory, disk, GPUs, versions of the packages."""
    rows = [("cores", f"{_cores()}, {'with' if _cpu_bfloat16() else 'without'} bfloat16 in hardware")]
    rows.append(("memory", size(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))))
    rows.append(("free disk", f"{size(shutil.disk_usage('.').free)} here"))
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        there = "with" if about.major >= 8 else "without"  # compute capability that has it in hardware
        rows.append((f"GPU {number}", f"{about.name}, {size(about.total_memory)}, {there} bfloat16 in hardware"))
    if not torch.cuda.device_count():
        rows.append(("GPU", f"none that torch can use (built for CUDA {torch.version.cuda or 'no version'})"))
    versions = [f"python {platform.python_version()}", *(f"{name} {version(name) or 'missing'}" for name in PACKAGES)]
    return [*rows, ("packages", ", ".join(versions))]


def target_jobs(plan: Plan, files: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """The jobs behind files that Snakemake can be asked for."""
    found: list[str] = []
    for path in files:
        if not (made := DONE.fullmatch(path)) and maker(path) is None:
            raise UserError(f"{path}: no job makes it; name results/{{dataset}}, or a file that snakemake makes")
        found += plan.pictures(made[1]) if made else [path]
    return list(plan.behind(found))


def needs_of_jobs(config: Config, jobs: Iterable[tuple[str, Mapping[str, str]]]) -> list[Need]:
    """What jobs read that no job makes, but data sets; each once, with checksums compared."""
    found = (need for stage, names in jobs if stage not in OF_DATA for need in of_job(config, stage, names))
    return [_checked(need) for need in dict.fromkeys(found)]


_checked = cache(checked)


def report(config: Config, dataset: str, files: Sequence[str] = ()) -> tuple[str, bool]:
    """Text for people about one data set, and whether all is there.

    Args:
        files: that are asked for, instead of the table and the pictures of the data set's systems.
    """
    data, estimates = config.dataset(dataset), Estimates(config, dataset)
    if files:
        jobs_of = {path: target_jobs(estimates.plan, [path]) for path in files}
    else:
        jobs_of = {name: estimates.jobs(name) for name in data.systems}
    needs_of = {name: needs_of_jobs(config, jobs) for name, jobs in jobs_of.items()}
    others = {
        names["dataset"] for jobs in jobs_of.values() for _, names in jobs if names.get("dataset", dataset) != dataset
    }
    common = [
        _checked(need)
        for name in (dataset, *sorted(others))
        for need in (*data_needs(config, name), *of_limit(config, name))
    ]
    every = merged([*common, *(need for needs in needs_of.values() for need in needs)])
    rows = [[need.what, need.path, need.state, need.size, need.checksum, need.source] for need in every]
    text = [_table(["needs", "where", "state", "size", "checksum", "source"], rows)] if rows else ["needs nothing"]

    gpus = min(data.gpus, torch.cuda.device_count())
    together: dict[tuple, None] = {}
    rows = []
    for name, jobs in jobs_of.items():
        absent = ["data set"] * any(need.state != PRESENT for need in common)
        absent += [Path(need.path).name for need in needs_of[name] if need.state != PRESENT]
        together |= {(stage, tuple(sorted(names.items()))): None for stage, names in jobs}
        rows.append([name, *_cost(estimates, jobs, gpus), ", ".join(absent) or "nothing"])
    if len(rows) > 1:
        jobs = [(stage, dict(names)) for stage, names in together]
        rows.append(["together", *_cost(estimates, jobs, gpus), ""])
    where = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else f"{_cores()} cores"
    text.append(_table(["file" if files else "system", "disk", f"time on {where}", "time on one GPU", "missing"], rows))
    if estimates.members is None:
        text.append("The lists of images cannot be read yet, so there is no estimate.")
    else:
        images = ", ".join(f"{name} {len(ids):,}" for name, ids in estimates.members.items())
        text.append(
            f"Estimated, to a factor of about two, for images: {images}; `together` counts what is shared once. "
            "The one GPU is as fast as each of EPS's authors' two."
        )
    return "\n\n".join(text), all(need.state == PRESENT for need in every)


def _cost(estimates: Estimates, jobs: Sequence[tuple[str, Mapping[str, str]]], gpus: int) -> list[str]:
    if estimates.members is None:
        return ["?", "?", "?"]
    costs = [estimates.cost(stage, names) for stage, names in jobs]
    hours = [sum(cost.hours(_cores(), number) for cost in costs) for number in (gpus, 1)]
    return [size(sum(cost.bytes for cost in costs)), *map(duration, hours)]


def duration(hours: float) -> str:
    """A time as people say it, to two digits."""
    if hours >= 48:
        return f"{_two_digits(hours / 24)} days"
    if hours >= 1:
        return f"{hours:.1f} h" if hours < 9.95 else f"{hours:.0f} h"
    minutes = hours * 60
    return f"{minutes:.0f} min" if minutes >= 1 else f"{max(1, minutes * 60):.0f} s" if minutes else "none"


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value < 99.5 else f"{round(value, 1 - int(math.log10(value))):,.0f}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_bfloat16() -> bool:
    """As far as Linux says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split()}
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    lines = [headers, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def asked_for(config: Config, targets: Sequence[str]) -> dict[str, list[str]]:
    """By data set the files that are asked for; none stand for its table and pictures."""
    found: dict[str, list[str]] = {}
    for target in targets:
        path = target.rstrip("/")
        name = re.fullmatch("(?:results/)?([^/]+)", path)
        parts = Path(path).parts
        if name is None and (len(parts) < 3 or parts[0] != "results"):
            raise UserError(f"{target}: expected results/{{dataset}}, or a file below it that snakemake makes")
        dataset = name[1] if name else parts[1]
        config.dataset(dataset)
        found.setdefault(dataset, []).extend([] if name else [path])
    return found or {name: [] for name in config.datasets}


def main(arguments: Sequence[str]) -> int:
    """The command line; exit status 1 if anything is missing."""
    parser = command_parser("doctor", __doc__)
    parser.add_argument(
        "targets", nargs="*", help="results/{dataset}, or files that snakemake makes; all data sets if none is named"
    )
    add_configfile(parser)
    given = parser.parse_args(arguments)
    config = load_config(given.configfile)
    asked = asked_for(config, given.targets)
    print("\n".join(f"{title:<10} {value}" for title, value in machine()))
    complete = True
    for name, files in asked.items():
        text, whole = report(config, name, files)
        print(f"\nData set {name}: {'all is there' if whole else 'something is missing'}\n\n{text}")
        complete &= whole
    return 0 if complete else 1
