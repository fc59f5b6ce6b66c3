"""Whether doubt finds the masks that are wrong, and what it is worth to correct them: on photographs with true masks.

    python benchmarks/doubt.py --root VOCdevkit/VOC2012 --weights mobilenet_v2.pth --saliency Saliency [--draws 0 1 2]
        [--system labels_saliency] [--images 150] [--classes cat cow dog horse person sheep] [--chosen 20] [--held-out 100] [--work FOLDER]

For each draw so many photographs of the list `train_aug` are drawn that show these classes and no other, and others of the
list `val`, which nothing learns from. `configs/quick.yaml` makes masks of the drawn ones; their truth is for the scores
alone. Three things are then told, with their spread over the draws:

* Spearman's rank correlation of 1 - doubt with the true IoU, image by image, for each stage and each part of the doubt;
  beside it what a random order gives: 0, with a spread of 1 / sqrt(images - 1).
* the mean true IoU of the masks chosen as the most doubtful, of random ones, and of all.
* mIoU of the segmentation network where no mask is corrected, where random ones are, and where the most doubtful are. The
  truth stands in for the hand that corrects.
"""

import argparse
import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from workflow_scripts.config.fingerprint import ROOT
from workflow_scripts.data.index import read_index
from workflow_scripts.data.maps import label_map
from workflow_scripts.evaluation.miou import confusion_matrix, mean_intersection_over_union
from workflow_scripts.evaluation.saliency import foreground_iou
from workflow_scripts.store.artifacts import Reader
from workflow_scripts.store.csv_files import read_table

VOC = ("aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person pottedplant sheep sofa "
       "train tvmonitor").split()  # fmt: skip
WSSS = (sys.executable, "-m", "workflow_scripts")
RESULTS = Path("results/mine")
# By schema, the column of a stage in the table of doubt, and where its artifact lies.
STAGES = {
    "saliency": ("saliency", "saliency/*.h5"),
    "cam": ("maps", "{seed}/cams/*.h5"),
    "mask": ("mask", "{seed}/masks/{system}.h5"),
    "prediction": ("segmentation", "{seed}/predictions/{system}/*/single.h5"),
}
KINDS = ("none", "random", "doubtful")  # which masks are corrected


def drawn(root: Path, listed: str, classes: list[str], count: int, rng: random.Random) -> list[tuple[str, list[str]]]:
    """So many images of a list that show these classes and no other, and which of them."""
    names, found = (root / f"ImageSets/Segmentation/{listed}.txt").read_text().split(), []
    rng.shuffle(names)
    for name in names:
        values = np.unique(np.asarray(Image.open(root / f"SegmentationClassAug/{name}.png")))
        shown = [VOC[value - 1] for value in values.tolist() if 0 < value < 255]
        if shown and {*shown} <= {*classes}:
            found.append((name, shown))
        if len(found) == count:
            return found
    raise SystemExit(f"{listed}: only {len(found)} images of these classes; ask for fewer")


def write_data_set(given: argparse.Namespace, draw: int) -> None:
    """Table and settings of a draw, in the current folder."""
    rng, root = random.Random(draw), given.root.resolve()
    with open("photos.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "image", "labels", "mask", "split"])
        for split, listed, count in (("drawn", "train_aug", given.images), ("held_out", "val", given.held_out)):
            for name, shown in drawn(root, listed, given.classes, count, rng):
                paths = (root / f"JPEGImages/{name}.jpg", root / f"SegmentationClassAug/{name}.png")
                table.writerow([name, paths[0], ";".join(shown), paths[1], split])
    initial = {"initial": str(given.weights.resolve())}
    mine = {
        "table": "photos.csv",
        "classes": given.classes,
        "mask_ids": {name: VOC.index(name) + 1 for name in given.classes},
        "orientation": "stored",
        "splits": {"all": None, "drawn": {"ids": "drawn"}, "held_out": {"ids": "held_out"}},
        "use": {"train": "drawn", "masks": "drawn", "evaluation": ["drawn", "held_out"]},
        "seeds": [draw],
        "systems": [given.system],
        "overrides": {
            "systems": {given.system: {"predictions": ["single"]}},
            "classifiers": {"base_cnn": initial},
            "segmenters": {"large_fov": initial},
        },
    }
    if given.saliency:
        mine["overrides"]["saliency"] = {"u2net": {"detector": "folder", "model": None, "path": str(given.saliency)}}
    Path("mine.yaml").write_text(yaml.safe_dump({"datasets": {"mine": mine}}))
    others = KINDS[1:]
    corrected = {
        "masks": {name: {"rule": "folder", "path": name, "otherwise": given.system} for name in others},
        "systems": {name: {"mask": name, "segmenter": "large_fov", "predictions": ["single"]} for name in others},
        "datasets": {"mine": {"systems": [given.system, *others]}},
    }
    Path("corrected.yaml").write_text(yaml.safe_dump(corrected))


def call(*words: object) -> None:
    """Run a command; its output is shown where it fails."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def snakemake(*targets: object, overlays: tuple[str, ...] = ()) -> None:
    files = [ROOT.parent / "configs/quick.yaml", "mine.yaml", *overlays]
    call(
        *(sys.executable, "-m", "snakemake", "-s"),
        ROOT.parent / "Snakefile",
        "--cores",
        2,
        "--quiet",
        "all",
        "--configfile",
        *files,
        "--",
        *targets,
    )


def true_ious(given: argparse.Namespace, draw: int) -> pd.DataFrame:
    """By id, the true IoU of each stage that the table of doubt has, as the gallery has it."""
    index, truth = read_index(str(RESULTS / "index.h5")), Reader(RESULTS / "truth.h5", "truth")
    ids, found = index.split("drawn"), {}
    for schema, (column, pattern) in STAGES.items():
        path = next(RESULTS.glob(pattern.format(seed=f"seed-{draw}", system=given.system)), None)
        if path is not None:
            reader = Reader(path, schema)
            found[column] = [
                true_iou(schema, reader.read(name), truth.read(name)["label"], given, len(index.classes))
                for name in ids
            ]
    return pd.DataFrame(found, index=ids)


def true_iou(schema: str, arrays: dict, truth: np.ndarray, given: argparse.Namespace, classes: int) -> float:
    """Of saliency that of the foreground, else the mean over the classes of the image's truth, background among them."""
    if schema == "saliency":
        return foreground_iou(arrays["saliency"], truth)
    label = label_map(arrays, truth.shape, given.threshold if schema == "cam" else None)
    return mean_intersection_over_union(confusion_matrix(label, truth, classes + 1, missed_column=True))


def correct(given: argparse.Namespace, draw: int) -> dict[str, list[str]]:
    """Folders with the true masks of the most doubtful images and of random ones, and these images."""
    masks = RESULTS / f"seed-{draw}/masks/{given.system}.h5"
    ids = {"random": random.Random(draw).sample(read_index(str(RESULTS / "index.h5")).split("drawn"), given.chosen)}
    call(*WSSS, "export", masks, "--format", "voc", "--doubtful", given.chosen, "--out", "asked")
    ids["doubtful"] = [path.stem for path in Path("asked/SegmentationClass").iterdir()]
    for name, chosen in ids.items():
        call(*WSSS, "export", RESULTS / "truth.h5", "--format", "voc", "--out", name, "--ids", *chosen)
    return ids


def measure(given: argparse.Namespace, draw: int) -> tuple[pd.DataFrame, dict, dict]:
    """Of a draw: correlations by part and stage, mean IoU of the chosen masks, mIoU by split and kind of correction."""
    write_data_set(given, draw)
    table = RESULTS / f"seed-{draw}/doubt/{given.system}.csv"
    snakemake(RESULTS / "miou.csv", table)
    doubts, ious = read_table(table, index_col="id"), true_ious(given, draw)
    doubts.index = doubts.index.astype(str)
    joined = ious.join(doubts.add_suffix(" doubt"))
    joined.to_csv("images.csv")
    correlations = pd.DataFrame(
        {
            stage: {name: -joined[f"{name} doubt"].corr(joined[stage], method="spearman") for name in doubts}
            for stage in ious
        }
    )
    ids = correct(given, draw)
    chosen = {name: 100 * ious.loc[held, "mask"].mean() for name, held in ids.items()} | {
        "all": 100 * ious["mask"].mean()
    }
    snakemake(RESULTS / "miou.csv", overlays=("corrected.yaml",))
    rows = read_table(RESULTS / "miou.csv")
    rows = rows[(rows["stage"] == "segmentation") & (rows["prediction"] == "single")]
    gains = {(row.split, "none" if row.system == given.system else row.system): row.miou for row in rows.itertuples()}
    return correlations, chosen, gains


def spread(values) -> str:
    """Mean and sample standard deviation, and the values."""
    values = np.array(values, float)
    about = f"{values.mean():7.2f} +- {values.std(ddof=1):.2f}" if len(values) > 1 else f"{values.mean():7.2f}"
    return f"{about}   ({', '.join(f'{value:.2f}' for value in values)})"


def report(given: argparse.Namespace, found: list[tuple]) -> str:
    """What the draws so far have given."""
    correlations, chosen, gains = zip(*found, strict=True)
    draws = ", ".join(map(str, given.draws[: len(found)]))
    lines = [f"{given.system}: {given.images} images of {', '.join(given.classes)}; draws {draws}"]
    lines.append(f"Spearman of 1 - doubt with the true IoU; a random order: 0 +- {1 / np.sqrt(given.images - 1):.2f}")
    for stage in correlations[0]:
        lines.append(f"  IoU of {stage}")
        lines += [
            f"    {name:24}{spread([table.loc[name, stage] for table in correlations])}"
            for name in correlations[0].index
        ]
    lines.append("Mean IoU of the masks chosen, percent")
    lines += [f"  {name:12}{spread([one[name] for one in chosen])}" for name in chosen[0]]
    lines.append(f"mIoU of the segmentation network, percent, with {given.chosen} masks corrected")
    for split, kind in sorted(gains[0], key=lambda key: (key[0], KINDS.index(key[1]))):
        lines.append(f"  {split:10} {kind:10}{spread([one[split, kind] for one in gains])}")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of VOC 2012, with SegmentationClassAug")
    parser.add_argument("--weights", type=Path, required=True, help="ImageNet weights of torchvision's mobilenet_v2")
    parser.add_argument("--saliency", type=Path, help="folder of maps that stand in for U2-Net's, {id}.png")
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2], help="seeds")
    parser.add_argument("--images", type=int, default=150, help="drawn")
    parser.add_argument("--held-out", type=int, default=100, help="images that nothing learns from")
    parser.add_argument("--classes", nargs="+", default=["cat", "cow", "dog", "horse", "person", "sheep"])
    parser.add_argument("--system", default="labels_saliency", help="whose masks")
    parser.add_argument(
        "--threshold", type=float, default=0.2, help="at which maps are cut: of the data set, or of the mask"
    )
    parser.add_argument("--chosen", type=int, default=20, help="masks that are corrected")
    parser.add_argument("--work", type=Path, help="folder that keeps what is made (a temporary one)")
    given = parser.parse_args()
    work, found = Path(given.work or tempfile.mkdtemp()), []
    work, given.root, given.weights = work.resolve(), given.root.resolve(), given.weights.resolve()
    given.saliency = given.saliency and given.saliency.resolve()
    for draw in given.draws:
        folder = work / f"draw-{draw}"
        folder.mkdir(parents=True)
        os.chdir(folder)
        found.append(measure(given, draw))
        (work / "doubt.txt").write_text(report(given, found))
        print(f"draw {draw} is done", file=sys.stderr, flush=True)
    print((work / "doubt.txt").read_text(), end="")
    if given.work is None:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
