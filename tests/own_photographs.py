"""Eight photographs of a user's own, both as a VOC tree and as a table, and the configuration of either."""

from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.config.layers import read_settings
from workflow_scripts.config.planning.plan import Plan
from workflow_scripts.config.resolve import Config, merge

HEIGHT, WIDTH = 20, 30
IDS = [f"photo_{number}" for number in range(8)]
CAT, DOG = 8, 12  # their ids in PASCAL VOC

COMMON = {
    "classes": ["cat", "dog"],
    "use": {"train": "all", "masks": "rest", "thresholds": "held_out", "evaluation": ["val"]},
    "seeds": [0],
    "torch_threads": 1,
    "workers": 1,
    "gpus": 0,
    "threshold": 0.2,
    "montage": 2,
    "systems": ["cam", "eps", "truth"],
    "overrides": {"saliency": {"supplied": {"path": "Saliency"}}},
}
PARTS = {"held_out": {"of": "all", "first": 2}, "rest": {"of": "all", "without": "held_out"}}
VOC = {
    "kind": "voc",
    "root": "VOC",
    "images": "JPEGImages",
    "annotations": "Annotations",
    "masks": "SegmentationClassAug",
    "splits": {"all": {"ids": "train.txt"}, "val": {"ids": "val.txt"}, **PARTS},
}
CSV = {"kind": "csv", "table": "table.csv", "splits": {"all": {"ids": "train"}, "val": {"ids": "val"}, **PARTS}}


def label_of(number: int) -> np.ndarray:
    """Background, one object of class 1 or 2, and a border of ignored pixels."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[4:14, 4:20] = 255
    label[5:13, 5:19] = 1 + number % 2
    return label


def plan_of(data: dict, name: str = "mine", over: dict | None = None, **changes) -> Plan:
    settings = {"datasets": {name: merge(merge(COMMON, data), changes)}}
    return Plan(Config(merge(read_settings(), merge(settings, over or {}))))


def write_photographs() -> None:
    """Photographs, annotations, truth and saliency maps of the data set, in the current folder."""
    for part in ("JPEGImages", "Annotations", "SegmentationClassAug"):
        Path("VOC", part).mkdir(parents=True)
    Path("Saliency").mkdir()
    Path("masks").mkdir()
    rows = ["id,image,labels,mask,boxes,split"]
    for number, identifier in enumerate(IDS):
        rng, label = np.random.default_rng(number), label_of(number)
        name, pixels = ("cat", "dog")[number % 2], rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"VOC/JPEGImages/{identifier}.jpg")
        Path(f"VOC/Annotations/{identifier}.xml").write_text(
            f"<annotation><object><name>{name}</name><bndbox><xmin>6</xmin><ymin>6</ymin><xmax>19</xmax><ymax>13</ymax>"
            "</bndbox></object></annotation>"
        )
        palette = Image.fromarray(np.array([0, CAT, DOG, *[0] * 252, 255], np.uint8)[label])
        palette.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
        palette.save(f"VOC/SegmentationClassAug/{identifier}.png")
        Image.fromarray(label).save(f"masks/{identifier}.png")
        Image.fromarray(np.where(label % 255 > 0, 200, 10).astype(np.uint8)).save(f"Saliency/{identifier}.png")
        split = "train" if number < 6 else "val"
        rows.append(
            f"{identifier},VOC/JPEGImages/{identifier}.jpg,{name},masks/{identifier}.png,5 5 19 13 {name},{split}"
        )
    Path("VOC/train.txt").write_text("\n".join(IDS[:6]) + "\n")
    Path("VOC/val.txt").write_text("\n".join(IDS[6:]) + "\n")
    Path("table.csv").write_text("\n".join(rows) + "\n")
