"""The pictures and figures of docs/howto/bad_masks.md: what goes wrong with masks, and what a change brings, on the demo's images.

    python benchmarks/bad_masks.py --out docs/howto

Runs Snakemake for the masks of the demo (seed 0, split train) and for masks with one setting changed, then draws for each failure the image
that has most of it and, of those that have it, the one that the change helps most, and prints how many images have it, and mIoU.
"""

import argparse
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from workflow_scripts.data.index import Images, read_index
from workflow_scripts.look import pictures
from workflow_scripts.store.artifacts import Reader

SETTINGS = {
    "classifiers": {"hurried": {"base": "cam", "recipe": {"iterations": 100}}},
    "cams": {"hurried": {"classifier": "hurried"}},
    "masks": {
        "low": {"rule": "constant", "cam": "cam", "threshold": 0.05},
        "high": {"rule": "constant", "cam": "cam", "threshold": 0.8},
        "middle": {"rule": "constant", "cam": "cam", "threshold": 0.5},
        "hurried": {"base": "labels_saliency", "cam": "hurried"},
        "strict": {"base": "labels_saliency", "cam": "cam", "threshold": 0.9},
    },
}
SETTINGS["datasets"] = {
    "demo": {"overrides": {"masks": {name: {"saliency": "rendered"} for name in ("hurried", "strict")}}}
}


def too_large(label: np.ndarray, true: np.ndarray) -> float:
    """Share of the image that the mask has and no object."""
    return float(((label > 0) & (true == 0)).mean())


def part_alone(label: np.ndarray, true: np.ndarray) -> float:
    """Share of the objects that the mask lacks; 0 where less than 70 % of the mask is on objects."""
    found = label > 0
    if not (true > 0).any() or not found.any() or (true[found] > 0).mean() < 0.7:
        return 0.0
    return float((~found[true > 0]).mean())


def mixed(label: np.ndarray, true: np.ndarray) -> float:
    """Share of the objects that have another object's class."""
    found = (label > 0) & (true > 0)
    return float((label[found] != true[found]).mean()) if found.any() else 0.0


def empty(label: np.ndarray, true: np.ndarray) -> float:
    """1 where the mask is empty and there is an object; of several images the one with the largest object."""
    return float((true > 0).mean()) if not (label > 0).any() else 0.0


@dataclass(frozen=True)
class Failure:
    """What goes wrong: how much of it an image has, from where on it counts, masks before and after the change."""

    name: str
    measure: Callable[[np.ndarray, np.ndarray], float]
    limit: float
    before: str
    after: str
    classes: tuple[str, ...] = ()


FAILURES = (
    Failure("whole_image", too_large, 0.3, "low", "middle"),
    Failure("head_only", part_alone, 0.6, "high", "middle"),
    Failure("context", too_large, 0.15, "middle", "labels_saliency", ("train", "boat")),
    Failure("mixed", mixed, 0.3, "hurried", "labels_saliency"),
    Failure("empty", empty, 1e-9, "strict", "labels_saliency"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    out = parser.parse_args().out
    names = sorted({name for failure in FAILURES for name in (failure.before, failure.after)})
    paths = {name: f"results/demo/seed-0/masks/{name}.h5" for name in names}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as overlay:
        overlay.write(yaml.safe_dump(SETTINGS))
        overlay.flush()
        command = ["snakemake", "--cores", "2", "--configfile", overlay.name, "--"]
        subprocess.run([*command, "results/demo/truth.h5", *paths.values()], check=True)
    index = read_index("results/demo/index.h5", "demo")
    images = Images(index, "results/demo/rendered/images.h5")
    truth = Reader("results/demo/truth.h5", "truth", "demo")
    true = {name: truth.read(name)["label"] for name in index.split("train")}
    labels = {}
    for mask, path in paths.items():
        reader = Reader(path, "mask", "demo")
        labels[mask] = {name: reader.read(name)["label"] for name in true}
    for failure in FAILURES:
        told(failure, labels, true, index.classes)
        draw(out, failure, labels, true, images)


def of_images(failure: Failure, labels: dict, true: dict, mask: str, classes: tuple[str, ...]) -> dict[str, float]:
    """How much of the failure each image has, of those that show its classes."""
    wanted = {classes.index(name) + 1 for name in failure.classes} or {*range(1, len(classes) + 1)}
    return {
        name: failure.measure(labels[mask][name], true[name])
        for name in true
        if wanted & {*np.unique(true[name]).tolist()}
    }


def told(failure: Failure, labels: dict, true: dict, classes: tuple[str, ...]) -> None:
    for mask in (failure.before, failure.after):
        measured = of_images(failure, labels, true, mask, classes)
        count = sum(value >= failure.limit for value in measured.values())
        print(
            f"{failure.name}: {mask}: {count} of {len(measured)} images; mIoU {miou(labels[mask], true, len(classes)):.1f}"
        )


def miou(labels: dict, true: dict, classes: int) -> float:
    """In percent, with the background."""
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    for name, label in labels.items():
        known = (true[name] != 255) & (label != 255)
        np.add.at(counts, (true[name][known], label[known]), 1)
    hits = np.diag(counts)
    return float(100 * np.mean(hits / np.maximum(1, counts.sum(axis=0) + counts.sum(axis=1) - hits)))


def right(label: np.ndarray, true: np.ndarray) -> float:
    """Intersection over union of the image's objects, each pixel with its class."""
    known = true != 255
    both = ((label == true) & (true > 0))[known].sum()
    return float(both / max(1, ((label > 0) | (true > 0))[known].sum()))


def draw(out: Path, failure: Failure, labels: dict, true: dict, images: Images) -> None:
    classes = images.index.classes
    measured = of_images(failure, labels, true, failure.before, classes)
    worst = max(measured, key=lambda one: measured[one])
    having = [name for name in measured if measured[name] >= failure.limit and name != worst]
    gains = {
        name: right(labels[failure.after][name], true[name]) - right(labels[failure.before][name], true[name])
        for name in having
    }
    rows = []
    for name in (worst, max(gains, key=lambda one: gains[one])):
        image = images.read(name)
        found = [labels[failure.before][name], labels[failure.after][name], true[name]]
        cells = [pictures.Cell(pictures.shown(image)), *(pictures.label_cell(image, label, classes) for label in found)]
        rows.append(pictures.Row([name], cells))
    columns = ["image", f"before\n{failure.before}", f"after\n{failure.after}", "truth"]
    picture = pictures.montage("", [pictures.Block("", columns, rows)], classes)
    (out / f"bad_masks_{failure.name}.png").write_bytes(pictures.png(picture))


if __name__ == "__main__":
    main()
