"""Whether two commits plan the same jobs and make the same bytes, on one machine: what a move of code must show.

    python tests/tools/same_bytes.py record before.json demo demo_boxes --configfile configs/boxes.yaml   # in each checkout
    python tests/tools/same_bytes.py compare before.json after.json

`record` keeps, for each data set, every job behind its table, its pictures and all that can be asked for, with its
settings, inputs, modules and the digest of its code, and the SHA-256 of every file that is there in results/{dataset},
but for sidecars, which hold durations. `compare` tells what differs and exits with 1 if anything does; of records of an
older commit it compares what these keep.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from workflow_scripts.base.digests import file_sha256  # noqa: E402
from workflow_scripts.config.planning.plan import Plan  # noqa: E402
from workflow_scripts.config.resolve import Config  # noqa: E402

MOST_SHOWN = 40


def record(config: Config, datasets: Sequence[str]) -> dict:
    """Jobs by the first file that each makes, with all of these files and the settings; digests of files by path."""
    plan, jobs = Plan(config), {}
    for dataset in datasets:
        for stage, wildcards in plan.jobs(dataset, *plan.on_request(dataset)):
            outputs = plan.outputs(stage, wildcards)
            found = {"stage": stage, "outputs": outputs, "settings": json.loads(plan.settings(stage, wildcards))}
            found |= {"inputs": plan.job(stage, wildcards).inputs, "modules": plan.modules(stage, wildcards)}
            jobs[min(outputs.values())] = found | {"code": plan.code(stage, wildcards)}
    return {"jobs": jobs, "files": {path: digest for dataset in datasets for path, digest in artifacts(dataset)}}


def artifacts(dataset: str) -> Iterator[tuple[str, str]]:
    """Path and SHA-256 of what jobs have made of a data set."""
    for path in sorted(Path("results", dataset).rglob("*")):
        sidecar = path.suffix == ".json" and path.with_suffix("").exists()
        if path.is_file() and not sidecar and not path.name.startswith("."):
            yield str(path), file_sha256(path)


def differences(before: dict, after: dict) -> list[str]:
    """A line for each job or file that is in one alone, or that is not the same in both."""
    lines = []
    for what in ("jobs", "files"):
        one, other = before[what], after[what]
        lines += [f"{what}: only before: {path}" for path in one if path not in other]
        lines += [f"{what}: only after: {path}" for path in other if path not in one]
    jobs, now = before["jobs"], after["jobs"]
    for path in sorted(jobs.keys() & now.keys()):
        other = [key for key in sorted(jobs[path].keys() & now[path].keys()) if jobs[path][key] != now[path][key]]
        lines += [f"jobs: other {', '.join(other)}: {path}"] if other else []
    files, now = before["files"], after["files"]
    return lines + [f"files: not the same: {path}" for path in files if path in now and files[path] != now[path]]


def main() -> int:
    """The command line; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    keep = commands.add_parser("record", help="write what this checkout plans and has made")
    keep.add_argument("out", type=Path)
    keep.add_argument("datasets", nargs="+")
    keep.add_argument("--configfile", nargs="+", default=[], help="laid over config.yaml")
    beside = commands.add_parser("compare", help="tell what differs between two records")
    beside.add_argument("before", type=Path)
    beside.add_argument("after", type=Path)
    given = parser.parse_args()
    if given.command == "record":
        config = Config.load(*given.configfile)
        found = record(config, given.datasets)
        given.out.write_text(json.dumps(found, indent=1, sort_keys=True))
        print(f"{len(found['jobs'])} jobs, {len(found['files'])} files")
        return 0
    before, after = (json.loads(path.read_text()) for path in (given.before, given.after))
    lines = differences(before, after)
    print("\n".join(lines[:MOST_SHOWN]))
    same = sum(before["files"].get(path) == digest for path, digest in after["files"].items())
    print(f"{len(after['jobs'])} jobs, {same} of {len(after['files'])} files the same, {len(lines)} differences")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
