"""Seconds that `snakemake` takes to say that a finished data set is finished: VOC in full, in place.

    python benchmarks/no_op.py [--share 1.0] [--repeats 5] [--limit 5] [--megabytes 8] [--profile]

The data set's files are those of `planning.py`; every artifact behind its table is made up, with its sidecar, and
`snakemake --touch` writes the records that a run leaves. Their contents are holes: nothing of an artifact is read where
nothing is stale. Then the plain command, `snakemake --cores 8 results/voc/miou.csv`, several times. Prints seconds and
seconds of computing, which other work on the machine does not stretch, and with `--profile` the functions that the time
goes to. Exits with 1 where the median is above the limit, or Snakemake finds anything to do.
"""

import argparse
import os
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.planning import TIME, Tree, make_voc
from workflow_scripts.base.listings import listed_ids
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config
from workflow_scripts.data.index import write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.store.provenance import parent_digests, write_sidecar

ROOT = Path(__file__).resolve().parent.parent
DATASET, TARGET = "voc", "results/voc/miou.csv"
DONE = "Nothing to be done"


def hole(path: str | Path, size: int) -> None:
    """A file of so many bytes that takes no room."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.truncate(size)


def make_index(path: str, config: Config) -> None:
    """The index of the images that the lists name."""
    data = config.dataset(DATASET)
    lists = {name: Path(data.root) / split.ids for name, split in data.splits.items() if split.ids}
    splits = {name: [identifier for _, identifier in listed_ids(where)] for name, where in lists.items()}
    folder, boxes = Path(data.root) / data.images, np.array([[0, 0, 99, 99, 14]], np.float32)
    ids = sorted(path.stem for path in folder.iterdir())
    entries = [Entry(name, str(folder / f"{name}.jpg"), 375, 500, "0" * 64, (14,), boxes) for name in ids]
    write_index(path, DATASET, data.classes, entries, splits)


def make_results(config: Config, size: int) -> int:
    """Every artifact behind the table with its sidecar, in the working folder; the number of jobs that they stand for."""
    for block in [*vars(config.dataset(DATASET)).values(), *needed(config)]:
        if isinstance(block, str) and block.startswith("data/weights/"):
            hole(block, size)
    plan = Plan(config)
    jobs = list(plan.jobs(DATASET))
    for stage, names in jobs:
        inputs = plan.job(stage, names).inputs.values()
        parents = parent_digests(path for value in inputs for path in ([value] if isinstance(value, str) else value))
        for path in plan.outputs(stage, names).values():
            if stage == "index":
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                make_index(path, config)
            elif stage != "unpack":  # whose lists are there
                hole(path, size)
            write_sidecar(path, stage, plan.settings(stage, names), plan.code(stage, names), parents, 1.0, [stage])
    return len(jobs)


def needed(config: Config) -> list[object]:
    """What the networks of the data set start from."""
    kinds = ("classifiers", "affinities", "segmenters")
    return [config.block(DATASET, kind, name).initial for kind in kinds for name in config.names(DATASET, kind)]


def snakemake(*options: str, profile: Path | None = None) -> tuple[float, float, str]:
    """Seconds of a run in the working folder, those of them that it computed (Linux), and what it said."""
    start_with = [sys.executable, *(["-m", "cProfile", "-o", str(profile)] if profile else [])]
    command = [*start_with, "-m", "snakemake", "--cores", "8", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--workflow-profile", str(ROOT / "profiles" / "default"), *options, "--", TARGET]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout + done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the images (1)")
    parser.add_argument("--repeats", type=int, default=5, help="runs (5)")
    parser.add_argument("--limit", type=float, default=5, help="seconds of the median (5)")
    parser.add_argument("--megabytes", type=int, default=8, help="of each artifact (8)")
    parser.add_argument("--profile", action="store_true", help="one more run, and where its time goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        tree = Tree(Path("data/unpacked"))
        make_voc(tree, options.share)
        tree.finish()
        for manifest in Path("data/unpacked").glob("*.json"):
            os.utime(manifest, (TIME, TIME))
        jobs = make_results(Config.load(), options.megabytes << 20)
        snakemake("--touch")
        seconds, computed = [], []
        for _ in range(options.repeats):
            took, work, said = snakemake()
            if DONE not in said:
                sys.exit(f"not finished:\n{said[-3000:]}")
            seconds.append(took)
            computed.append(work)
        where = Path("profile")
        profiled = snakemake(profile=where) if options.profile else None
        median = statistics.median(seconds)
        print(f"{TARGET}: {jobs} jobs, {options.repeats} runs that find nothing to do")
        print(f"seconds            median {median:.2f}, from {min(seconds):.2f} to {max(seconds):.2f}")
        print(f"of these computing median {statistics.median(computed):.2f}, from {min(computed):.2f}")
        if profiled:
            pstats.Stats(str(where)).sort_stats("cumulative").print_stats(60)
        os.chdir(ROOT)
    sys.exit(1 if median > options.limit else 0)


if __name__ == "__main__":
    main()
