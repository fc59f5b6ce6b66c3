"""What 10,582, 120,000 and 1,000,000 training images ask for: planning and the index measured, disk and hours estimated.

    python benchmarks/scale.py planning [--ids 10582 120000 1000000]
    python benchmarks/scale.py index [--ids 10582 120000 1000000]
    python benchmarks/scale.py artifact [--ids 10582 120000]
    python benchmarks/scale.py costs [--ids 10582 120000 1000000] [--systems eps_resnet38 ...]
    python benchmarks/scale.py bytes results/demo [results/mine ...]

Each is a table in Markdown; `docs/scale.md` has them. `planning` makes up the files of VOC with so many training images, and
as many more for validation as VOC has, and runs `snakemake -n`. `index` gathers, writes and reads an index of made-up
entries; no image is decoded. `artifact` writes and reads masks of a few bytes, so that what is left is the store's own work.
Every measurement is a process of its own, of which seconds of computing and the peak of memory are told (Linux).
`costs` runs nothing: it asks `estimates.py`, with the iterations of trainings multiplied so that the epochs stay those
of VOC. `bytes` compares the bytes that real artifacts take with what `estimates.py` says of images of their size.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np

from workflow_scripts.config.resolve import Config
from workflow_scripts.data.index import read_index, write_index
from workflow_scripts.data.index_entries import Entry, Faults, gather
from workflow_scripts.store.artifacts import Reader, create
from workflow_scripts.store.provenance import own_peak

ROOT = Path(__file__).resolve().parent.parent
TRAINING, VALIDATION = 10_582, 1_449  # images of VOC 2012 with SBD
CLASSES = tuple(f"class {number}" for number in range(20))
A100 = 312e12  # bfloat16, dense, floating-point operations a second, of its data sheet
REACHED = 0.3  # share of it that is assumed


# --- measured in a process of its own ---------------------------------------------------------------------------------


def entry(number: int, faults: Faults) -> Entry:
    """An image with two objects, as VOC's have 2.4."""
    image = f"data/unpacked/voc2012/VOCdevkit/VOC2012/JPEGImages/2008_{number:07}.jpg"
    boxes = np.array([[10, 10, 90, 90, number % 20], [20, 20, 200, 200, number % 7]], np.float32)
    labels = tuple(sorted({number % 20, number % 7}))
    return Entry(f"2008_{number:07}", image, 375, 500, f"{number:064x}", labels, boxes)


def make_index(images: int, folder: Path) -> dict:
    entries = gather(entry, range(images), Faults(), None)
    ids = [item.id for item in entries]
    write_index(str(folder / "index.h5"), "made_up", CLASSES, entries, {"train": ids, "first": ids[:100]})
    return {"mb": (folder / "index.h5").stat().st_size / 1e6}


def use_index(images: int, folder: Path) -> dict:
    index = read_index(str(folder / "index.h5"))
    for identifier in index.split("train")[::1000]:
        index.classes_of(identifier), index.size_of(identifier), index.boxes_of(identifier)
    return {}


def make_artifact(images: int, folder: Path) -> dict:
    label, marks = np.zeros((8, 8), np.uint8), []
    with create(folder / "masks.h5", "mask", dataset="made_up", split="train", classes=CLASSES) as artifact:
        for number in range(images):
            artifact.put(f"2008_{number:07}", label=label)
            if number in {9_999, images - 10_001, images - 1}:
                marks.append(time.process_time())
    first, *_, before, last = (0.0, *marks)
    size = (folder / "masks.h5").stat().st_size
    return {"first": 0.1 * (marks[0] - first), "last": 0.1 * (last - before), "bytes": size / images - label.nbytes}


def use_artifact(images: int, folder: Path) -> dict:
    reader = Reader(folder / "masks.h5", "mask")
    for number in range(images):
        reader.read(f"2008_{number:07}")
    return {}


CHILDREN: dict[str, Callable[[int, Path], dict]] = {
    function.__name__: function for function in (make_index, use_index, make_artifact, use_artifact)
}


def apart(name: str, images: int, folder: Path) -> dict:
    """What a function of CHILDREN tells, with seconds of computing and the peak in MiB, less what imports alone take."""
    command = [sys.executable, __file__, "child", name, str(images), str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def child(name: str, images: int, folder: Path) -> None:
    before, start = own_peak(), time.process_time()
    found = CHILDREN[name](images, folder)
    seconds, peak = time.process_time() - start, (own_peak() - before) >> 20
    print(json.dumps({"seconds": seconds, "mib": peak, **found}))


# --- tables -----------------------------------------------------------------------------------------------------------


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print(f"| {' | '.join(headers)} |\n|{'---|' * len(headers)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |", flush=True)


def index_table(ids: Sequence[int]) -> None:
    rows = []
    for images in ids:
        with tempfile.TemporaryDirectory() as name:
            made, used = (apart(part, images, Path(name)) for part in ("make_index", "use_index"))
        cells = [f"{part['seconds']:.1f} | {part['mib']}" for part in (made, used)]
        rows.append([f"{images:,}", f"{made['mb']:.0f}", *cells])
    table(["images", "file, MB", "writing, CPU s", "MiB", "reading, CPU s", "MiB"], rows)


def artifact_table(ids: Sequence[int]) -> None:
    rows = []
    for images in ids:
        with tempfile.TemporaryDirectory() as name:
            made, used = (apart(part, images, Path(name)) for part in ("make_artifact", "use_artifact"))
        rows.append([f"{images:,}", f"{made['bytes']:.0f}", f"{made['first']:.2f}", f"{made['last']:.2f}"])
        rows[-1] += [made["mib"], f"{1e3 * used['seconds'] / images:.2f}", used["mib"]]
    table(
        ["images", "bytes an image beside the maps", "writing, ms an image, first 10,000", "last 10,000", "MiB"]
        + ["reading, ms an image", "MiB"],
        rows,
    )


PLANNED = """
import atexit, sys
from snakemake.cli import main
from workflow_scripts.store.provenance import own_peak
atexit.register(lambda: print("PEAK", own_peak() >> 20, flush=True))
main(sys.argv[1:])
"""


def planning_table(ids: Sequence[int], kinds: Sequence[str] = ("unpacked", "own")) -> None:
    from benchmarks.planning import Tree, make_voc

    class Files(Tree):
        """Without saliency maps, which the shipped systems of VOC make themselves."""

        def beside(self, folder, names):
            pass

    rows = []
    for images in ids:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            files = Files(folder / "data" / "unpacked")
            make_voc(files, images / TRAINING)
            files.finish()
            count = sum(len(part) for part in files.manifests.values())
            del files
            (folder / "unpacked.yaml").write_text("{}\n")
            (folder / "own.yaml").write_text("datasets: {voc: {archives: []}}\n")
            for kind in kinds:
                for plan in ("first", "later") if kind == "own" else ("each",):
                    rows.append([f"{images:,}", f"{count:,}", kind, plan, *planned(folder, folder / f"{kind}.yaml")])
                    print(rows[-1], file=sys.stderr, flush=True)
    table(["training images", "files", "files are", "plan", "jobs", "seconds", "CPU s", "peak, MiB"], rows)


def planned(folder: Path, overlay: Path) -> list[str]:
    """Jobs, seconds, seconds of computing and peak of a dry run of VOC's table."""
    options = ["--dry-run", "--cores", "1", "--snakefile", ROOT / "Snakefile", "--directory", folder]
    options += ["--configfile", ROOT / "config.yaml", overlay, "--", "results/voc/miou.csv"]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-c", PLANNED, *map(str, options)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    said = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    jobs, peak = (next(words[1] for words in said if words[:1] == [key]) for key in ("total", "PEAK"))
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [jobs, f"{seconds:.1f}", f"{computed:.1f}", peak]


def costs_table(ids: Sequence[int], systems: Sequence[str]) -> None:
    """All of a system, and its stages, for so many training images and as many more for validation as VOC has."""
    from workflow_scripts.commands.estimates import GPU, Estimates

    estimates = Estimates(Config.load(), "voc")
    shipped, whole, parts = estimates.members, [], []
    for system in systems or estimates.data.systems:
        jobs = estimates.jobs(system)
        for images in ids:
            times, rows = images / TRAINING, []
            estimates.members = {name: range(round(len(found) * times)) for name, found in shipped.items()}
            estimates.members |= {name: range(-round(VALIDATION * times), 0) for name in estimates.data.use.evaluation}
            for stage, names in jobs:
                cost = estimates.cost(stage, names)
                epochs = times if stage.startswith("train_") and stage != "train_saliency" else 1
                rows.append((stage, names, cost.bytes, cost.operations * epochs, cost.seconds))
            told = [f"{images:,}"]
            for stage, names, *amounts in rows:
                parts.append(
                    [
                        system,
                        stage,
                        "/".join(v for k, v in names.items() if k not in {"dataset", "seed"}),
                        *told,
                        *_amounts(*amounts, GPU),
                    ]
                )
            sums = (sum(row[place] for row in rows) for place in (2, 3, 4))
            whole.append([system, *told, *_amounts(*sums, GPU)])
    amounts = [
        "disk, GB",
        "operations",
        "hours on one GPU of EPS's authors",
        f"on an A100 at {REACHED:.0%} of its peak",
    ]
    amounts.append("hours of a core beside")
    table(["system", "training images", *amounts], whole)
    print()
    table(["system", "stage", "block", "training images", *amounts], parts)


def _amounts(disk: float, operations: float, seconds: float, gpu: float) -> list[str]:
    hours = [operations / speed / 3600 for speed in (gpu, REACHED * A100)]
    return [f"{disk / 1e9:,.2f}", f"{operations:.1e}", *(f"{value:,.2f}" for value in (*hours, seconds / 3600))]


def bytes_table(folders: Sequence[str]) -> None:
    """Compressed bytes a pixel of the image, by what an artifact holds."""
    rows = []
    for folder in map(Path, folders):
        index = read_index(str(folder / "index.h5"))
        for path in sorted(folder.rglob("*.h5")):
            with h5py.File(path) as file:
                schema = file.attrs.get("schema")
                if schema in {"index", "instances"}:
                    continue
                ids = list(file)
            pixels = float(sum(np.prod(index.size_of(identifier)) for identifier in ids))
            size = path.stat().st_size
            rows.append([path, schema, f"{len(ids):,}", f"{size / len(ids):,.0f}", f"{size / pixels:.3f}"])
    table(["artifact", "holds", "images", "bytes an image", "bytes a pixel of the image"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["planning", "index", "artifact", "costs", "bytes"])
    parser.add_argument("folders", nargs="*", help="of results, for bytes")
    parser.add_argument("--ids", type=int, nargs="+", default=[TRAINING, 120_000, 1_000_000], help="training images")
    parser.add_argument("--systems", nargs="+", default=[], help="for costs; those of voc, if none is named")
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
        return
    parser.add_argument("--files", nargs="+", default=["unpacked", "own"], help="for planning: by the workflow, yours")
    given = parser.parse_args()
    if given.part == "costs":
        costs_table(given.ids, given.systems)
    elif given.part == "bytes":
        bytes_table(given.folders)
    elif given.part == "planning":
        planning_table(given.ids, given.files)
    else:
        {"index": index_table, "artifact": artifact_table}[given.part](given.ids)


if __name__ == "__main__":
    main()
