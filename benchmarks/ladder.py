"""What each step of configs/quick.yaml brings and costs: mIoU of masks and segmentation, minutes.

    python benchmarks/ladder.py --images 60 --classes cat dog [--draws 0 1 2] [--steps labels labels_saliency ...]

Draws so many photographs that show these classes alone from those of ../shared/data, and as many others ("new"), which
nothing learns from. Each draw becomes a table and a data set, based on `mine` of configs/quick.yaml. Of draws that are
timed each step is one run of Snakemake with nothing kept of the steps before, but for the index and the truth; of others
one run makes all. A tenth of a draw shows several classes, where there are so many photographs of the kind; the others are
taken class by class. Truth is for scores alone; but for the step `corrected`, where twenty true masks, drawn at random,
stand for those that a person has corrected.

Writes runs.csv (a row each step and draw) and ladder.md (mean and sample standard deviation over draws) into --out. Minutes count when
nothing else runs. Draws come from the split `train_aug`; --split val is what recipes are chosen on.
"""

import argparse
import csv
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

VOC_IDS = {"cat": 8, "cow": 10, "dog": 12, "horse": 13, "person": 15, "sheep": 17}
STEPS = ("labels", "labels_saliency", "grabcut", "bana", "corrected")
CORRECTED = 20  # masks
STAGES = {"mask": "masks", "segmentation": "segmentation of new photographs", "segmentation_crf": "with CRF"}


def main() -> None:
    given = arguments()
    data, out = given.data.resolve() / "voc-animals", given.out
    out.mkdir(parents=True, exist_ok=True)
    shown = shown_classes(data / "VOCdevkit/VOC2012", given.split)
    rows = []
    for draw in given.draws:
        name = f"ladder_{given.images}_{len(given.classes)}_{draw}"
        chosen, new = drawn(shown, given.classes, given.images, draw)
        settings = write_data(data, out / name, name, given, draw, chosen, new)
        # One run for each step where minutes count, else one for all, which share what they have in common.
        for steps in [[step] for step in given.steps] if draw in given.timed else [given.steps]:
            minutes = run(settings, name, steps, given, afresh=draw in given.timed)
            told = f"{minutes:.2f}" if draw in given.timed else ""
            rows += [[draw, step, stage, f"{score:.2f}", told] for step, stage, score in scores(name, steps)]
            write(out, rows, given)


def shown_classes(root: Path, split: str) -> dict[str, set[str]]:
    """Classes that each photograph of a split shows."""
    names = {value: name for name, value in VOC_IDS.items()}
    found = {}
    for identifier in (root / f"ImageSets/Segmentation/{split}.txt").read_text().split():
        values = np.unique(np.asarray(Image.open(root / f"SegmentationClassAug/{identifier}.png")))
        found[identifier] = {names[value] for value in values.tolist() if value in names}
    return found


def drawn(shown: dict[str, set[str]], classes: list[str], count: int, seed: int) -> tuple[list[str], list[str]]:
    """Photographs that show nothing but these classes, and as many others, or what is left."""
    left = [identifier for identifier in sorted(shown) if shown[identifier] and shown[identifier] <= {*classes}]
    random.Random(seed).shuffle(left)
    chosen = balanced(left, shown, classes, count)
    return chosen, balanced([identifier for identifier in left if identifier not in chosen], shown, classes, count)


def balanced(left: list[str], shown: dict[str, set[str]], classes: list[str], count: int) -> list[str]:
    """A tenth that shows several classes, then of each class in turn one that shows it, alone if there is one."""
    taken = [identifier for identifier in left if len(shown[identifier]) > 1][: count // 10]
    by_number = sorted(left, key=lambda identifier: len(shown[identifier]))
    fitting = {kind: [identifier for identifier in by_number if kind in shown[identifier]] for kind in classes}
    while len(taken) < count and any(fitting.values()):
        for kind in classes:
            fitting[kind] = [identifier for identifier in fitting[kind] if identifier not in taken]
            taken += fitting[kind][: len(taken) < count]
    return taken


def write_data(
    data: Path, folder: Path, name: str, given: argparse.Namespace, draw: int, chosen: list[str], new: list[str]
) -> Path:
    """The table of a draw, twenty true masks, and the settings of its data set."""
    from defusedxml import ElementTree

    root, true = data / "VOCdevkit/VOC2012", folder / "corrected"
    true.mkdir(parents=True, exist_ok=True)
    with open(folder / "photos.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", "image", "labels", "mask", "boxes", "split"])
        for split, ids in (("drawn", chosen), ("new", new)):
            for identifier in ids:
                tree = ElementTree.parse(root / f"Annotations/{identifier}.xml").getroot()
                boxes = [
                    [float(item.find("bndbox").findtext(key)) for key in ("xmin", "ymin", "xmax", "ymax")]
                    + [item.findtext("name")]
                    for item in tree.iter("object")
                ]
                labels = sorted({box[4] for box in boxes} & {*given.classes})
                cell = ";".join(f"{x0 - 1:g} {y0 - 1:g} {x1:g} {y1:g} {kind}" for x0, y0, x1, y1, kind in boxes)
                paths = [root / f"JPEGImages/{identifier}.jpg", root / f"SegmentationClassAug/{identifier}.png"]
                table.writerow([identifier, paths[0], ";".join(labels), paths[1], cell, split])
    values = np.zeros(256, np.uint8)
    for number, kind in enumerate(given.classes, 1):
        values[VOC_IDS[kind]] = number
    values[255] = 255
    for identifier in random.Random(draw).sample(chosen, CORRECTED):
        label = np.asarray(Image.open(root / f"SegmentationClassAug/{identifier}.png"))
        Image.fromarray(values[label]).save(true / f"{identifier}.png")
    weights = str(data.parent / "weights/mobilenet_v2-imagenet-fp16.pth")
    overrides = {
        "saliency": {"u2net": {"detector": "folder", "model": None, "path": str(data / "Saliency")}},
        "masks": {"corrected": {"path": str(true)}},
        "classifiers": {"base_cnn": {"initial": weights}},
        "segmenters": {"large_fov": {"initial": weights}, "bana": {"initial": weights}},
    }
    settings = {
        "base": "mine",
        "table": str(folder / "photos.csv"),
        "classes": given.classes,
        "mask_ids": {kind: VOC_IDS[kind] for kind in given.classes},
        "splits": {"all": {"ids": "drawn"}, "new": {"ids": "new"}},
        "use": {"evaluation": ["new"]},
        "orientation": "stored",
        "overrides": overrides,
    }
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({"datasets": {name: settings}}))
    return path


def run(settings: Path, name: str, steps: list[str], given: argparse.Namespace, afresh: bool) -> float:
    """Minutes of steps; the index and the truth are made before, and, `afresh`, what others have left is taken away."""
    own = settings.with_name(f"{'-'.join(steps)}.yaml")
    alone = {"segmenter": None, "predictions": []}
    changes: dict = {"overrides": {"systems": dict.fromkeys(steps, alone)}} if given.masks else {}
    own.write_text(yaml.safe_dump({"datasets": {name: {"systems": list(steps)} | changes}}))
    for path in (f"results/{name}/seed-0", f"results/{name}/saliency") if afresh else ():
        shutil.rmtree(path, ignore_errors=True)
    command = ["snakemake", "--cores", "2", "--nolock", "--configfile", "configs/quick.yaml", *given.overlays]
    command += [str(settings), str(own), "--"]
    with open(own.with_suffix(".log"), "w") as log:
        for files in ([f"results/{name}/index.h5", f"results/{name}/truth.h5"], [f"results/{name}/miou.csv"]):
            start = time.monotonic()
            print(" ".join([*command, *files]), flush=True)
            subprocess.run([*command, *files], stdout=log, stderr=log, check=True)
    return (time.monotonic() - start) / 60


def scores(name: str, steps: list[str]) -> list[tuple[str, str, float]]:
    """Steps, stages and their mIoU in percent."""
    with open(f"results/{name}/miou.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["stage"] in STAGES and row["system"] in steps]
    return [(row["system"], row["stage"], float(row["miou"])) for row in rows]


def write(out: Path, rows: list[list], given: argparse.Namespace) -> None:
    """All rows, and the table of their means."""
    with open(out / "runs.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["draw", "step", "stage", "miou", "minutes"], *rows])
    lines = [
        f"{given.images} photographs, {', '.join(given.classes)}; draws {', '.join(map(str, given.draws))}; "
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "",
        f"| step | {' | '.join(STAGES.values())} | minutes |",
        "|---|" + "--:|" * (len(STAGES) + 1),
    ]
    for step in dict.fromkeys(row[1] for row in rows):
        cells = [spread([float(row[3]) for row in rows if row[1:3] == [step, stage]]) for stage in STAGES]
        cells.append(
            spread([float(minutes) for _, minutes in {(row[0], row[4]) for row in rows if row[1] == step} if minutes])
        )
        lines.append(f"| {step} | {' | '.join(cells)} |")
    (out / "ladder.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines), flush=True)


def spread(values: list[float]) -> str:
    if not values:
        return ""
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=60, help="photographs of a draw (default %(default)s)")
    parser.add_argument("--classes", nargs="+", choices=VOC_IDS, default=["cat", "dog"])
    parser.add_argument("--draws", nargs="+", type=int, default=[0, 1, 2], help="seeds of the draws")
    parser.add_argument("--timed", nargs="*", type=int, default=[0], help="draws whose steps are run one by one")
    parser.add_argument("--steps", nargs="+", default=STEPS, help="systems of configs/quick.yaml")
    parser.add_argument("--masks", action="store_true", help="masks alone, no segmentation")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--split", default="train_aug", help="that is drawn from; val is for choosing recipes")
    parser.add_argument("--overlays", nargs="*", default=[], help="further settings, over configs/quick.yaml")
    parser.add_argument("--out", type=Path, required=True, help="folder for tables, settings and logs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
