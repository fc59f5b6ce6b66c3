"""Seconds that `snakemake -n` takes to plan VOC and COCO in full: lists of the real length, ids and images made up.

    python benchmarks/planning.py [--share 1.0] [--limit 20]

Twice each: with the files as the workflow unpacks them, and with the same files as folders of the user's own, which are
digested one by one. The first plan of a folder digests every file, the second only looks at sizes and times. Images are
links to a few small files: a first plan of real photographs takes as long as reading them. Exits with 1 where a plan
takes more than the limit.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import yaml

from workflow_scripts.base.digests import file_sha256

ROOT = Path(__file__).resolve().parent.parent
VOC, SBD = "voc2012/VOCdevkit/VOC2012", "sbd/benchmark_RELEASE/dataset"
LINKS = 5000  # to one file; file systems allow some 65,000
TIME = 1_300_000_000  # seconds since 1970


class Tree:
    """Files below data/unpacked, and the lists of them that unpacking leaves."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.manifests: dict[str, dict[str, list]] = {}
        self.number = 0

    def add(self, names: Iterable[str], size: int) -> None:
        """Files of so many bytes, few of them with content of their own."""
        origin, entry = None, None
        for count, name in enumerate(names):
            path = self.folder / name
            if count % LINKS == 0:
                path.parent.mkdir(parents=True, exist_ok=True)
                self.number += 1
                entry = self.write(path, self.number.to_bytes(4, "big") * (size // 4))
                origin = path
            else:
                os.link(origin, path)
            self.note(name, entry)

    def write(self, path: Path, content: bytes) -> list:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (TIME, TIME))
        return [path.stat().st_size, TIME * 10**9, file_sha256(path)]

    def note(self, name: str, entry: list) -> None:
        archive, _, inside = name.partition("/")
        self.manifests.setdefault(archive, {})[inside] = entry

    def lists(self, name: str, ids: Iterable[str]) -> None:
        self.note(name, self.write(self.folder / name, "".join(f"{identifier}\n" for identifier in ids).encode()))

    def beside(self, folder: str, names: Iterable[str]) -> None:
        """Saliency maps, which are the user's own and in no archive."""
        before, self.manifests = self.manifests, {}
        self.add((f"../{folder}/{name}.png" for name in names), 2_000)
        self.manifests = before

    def finish(self) -> None:
        for archive, files in self.manifests.items():
            (self.folder / f"{archive}.json").write_text(json.dumps({"files": files}))


def make_voc(tree: Tree, share: float) -> None:
    """1,464 training, 1,449 validation and 9,118 further images of SBD, whose own lists have 11,355."""
    counts = [round(count * share) for count in (1464, 1449, 9118, 11355)]
    ids = [f"2008_{number:06}" for number in range(sum(counts[:3]))]
    train, val, others = (
        ids[: counts[0]],
        ids[counts[0] : counts[0] + counts[1]],
        ids[counts[0] + counts[1] :],
    )
    tree.add((f"{VOC}/JPEGImages/{identifier}.jpg" for identifier in ids), 20_000)
    tree.add((f"{VOC}/Annotations/{identifier}.xml" for identifier in ids), 1_000)
    tree.add((f"{VOC}/SegmentationClass/{identifier}.png" for identifier in train + val), 2_000)
    sbd = [*others, *train, *val][: counts[3]]
    tree.add((f"{SBD}/cls/{identifier}.mat" for identifier in sbd), 4_000)
    tree.beside("saliency", ids)
    tree.lists(f"{VOC}/ImageSets/Segmentation/train.txt", train)
    tree.lists(f"{VOC}/ImageSets/Segmentation/val.txt", val)
    tree.lists(f"{SBD}/train.txt", sbd[: len(sbd) * 3 // 4])
    tree.lists(f"{SBD}/val.txt", sbd[len(sbd) * 3 // 4 :])


def make_coco(tree: Tree, share: float) -> None:
    """82,783 training and 40,504 validation images, of which 82,081 and 40,137 have a label."""
    for split, count in (("train2014", 82783), ("val2014", 40504)):
        names = [f"COCO_{split}_{number:012}" for number in range(round(count * share))]
        tree.add((f"coco2014_{split[:-4]}/{split}/{name}.jpg" for name in names), 20_000)
        tree.beside("saliency_coco", names)
        tree.lists(f"coco2014_annotations/annotations/instances_{split}.json", ["{}"])


def planned(folder: Path, dataset: str, overlay: Path) -> tuple[float, float, int]:
    """Seconds of a dry run, those of them that it computed (Linux), and the jobs that it names."""
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--snakefile", ROOT / "Snakefile"]
    command += [
        "--directory",
        folder,
        "--configfile",
        ROOT / "config.yaml",
        overlay,
        "--",
        f"results/{dataset}/miou.csv",
    ]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-2000:])
    jobs = [line.split() for line in (done.stdout + done.stderr).splitlines() if line.startswith("total")]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    computed = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, computed, int(jobs[0][1]) if jobs else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the images (1)")
    parser.add_argument("--limit", type=float, default=20, help="seconds of a plan (20)")
    arguments = parser.parse_args()
    slow = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tree = Tree(folder / "data" / "unpacked")
        make_voc(tree, arguments.share)
        make_coco(tree, arguments.share)
        tree.finish()
        (folder / "unpacked.yaml").write_text("{}\n")
        own = {dataset: {"archives": []} for dataset in ("voc", "coco")}
        (folder / "own.yaml").write_text(yaml.safe_dump({"datasets": own}))
        print(f"{'data set':9} {'files':9} {'plan':7} {'seconds':>7} {'CPU':>5} {'jobs':>5}")
        for dataset in ("voc", "coco"):
            for files in ("unpacked", "own"):
                for plan in ("first", "second"):
                    seconds, computed, jobs = planned(folder, dataset, folder / f"{files}.yaml")
                    print(f"{dataset:9} {files:9} {plan:7} {seconds:7.1f} {computed:5.1f} {jobs:5}", flush=True)
                    slow |= seconds > arguments.limit
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
