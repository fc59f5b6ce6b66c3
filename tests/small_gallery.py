"""A data set of small drawings with one artifact of every stage, for the gallery, and the gallery of it."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from workflow_scripts.data.index import write_index
from workflow_scripts.data.index_entries import Entry
from workflow_scripts.run.command import Job
from workflow_scripts.stages import gallery
from workflow_scripts.store.artifacts import create
from workflow_scripts.store.csv_files import write_table

NASTY = '<img src=x onerror="hacked=1">&\'"'
CLASSES = ("bird", NASTY, "dog")
HEIGHT, WIDTH = 24, 32
COLUMNS = [
    {"stage": "saliency", "schema": "saliency", "name": "net", "systems": ["eps"], "refined": False, "doubt": None},
    {"stage": "cams", "schema": "cam", "name": "eps", "systems": ["eps"], "refined": False, "doubt": None},
    {"stage": "masks", "schema": "mask", "name": "eps", "systems": ["eps"], "refined": False, "doubt": None},
    {
        "stage": "masks",
        "schema": "mask",
        "name": "eps_crf",
        "systems": ["eps_crf"],
        "refined": True,
        "doubt": [0, "mask"],
    },
    {
        "stage": "predictions",
        "schema": "prediction",
        "name": "eps/fov/single",
        "systems": ["eps"],
        "refined": False,
        "doubt": None,
    },
]
ARTIFACTS = ("saliency.h5", "cam.h5", "mask.h5", "mask_crf.h5", "prediction.h5")


def label_of(number: int, left: int = 4) -> np.ndarray:
    """A rectangle of one class; of every third image, half of it of another one; void at its right end."""
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    label[4:20, left:28] = number % 3 + 1
    if number % 3 == 0:
        label[12:20, left:28] = 2
    label[4:20, 27] = 255
    return label


def doubt_of(number: int) -> float | None:
    """Of the mask `eps_crf` of a training image, in another order than the images' and than the scores'; of the sixth unknown."""
    return None if number == 5 else number * 7 % 10 / 10


def write_data_set(root: Path, train: int, validation: int) -> None:
    """Images `train_{n}` with maps and masks that are the worse the higher n is, `validation_{n}` with predictions."""
    random, entries = np.random.default_rng(0), []
    about = {"dataset": "toy", "split": "all", "classes": CLASSES}
    ids = {"train": [f"train_{n}" for n in range(train)], "validation": [f"validation_{n}" for n in range(validation)]}
    kinds = ("images", "truth", "saliency", "cam", "mask", "mask_crf", "prediction")
    paths = {kind: root / f"{kind}.h5" for kind in kinds}
    opened = {kind: create(path, kind.removesuffix("_crf"), **about) for kind, path in paths.items()}
    stores = {kind: artifact.__enter__() for kind, artifact in opened.items()}
    for split, members in ids.items():
        for number, identifier in enumerate(members):
            label = label_of(number)
            worse = label_of(number, 4 + 20 * number // max(train, 1))
            worse[worse == 255] = 0
            classes = np.setdiff1d(label, [0, 255]).astype(np.int16) - 1
            entries.append(Entry(identifier, "", HEIGHT, WIDTH, "0" * 64, tuple(classes.tolist()), np.zeros((0, 5))))
            image = random.integers(90, 160, (HEIGHT, WIDTH, 3), np.uint8)
            stores["images"].put(identifier, image=image)
            stores["truth"].put(identifier, label=label)
            stores["saliency"].put(identifier, saliency=np.where(worse > 0, 200, 3).astype(np.uint8))
            if split == "train":
                scores = np.stack([worse[::2, ::2] == value + 1 for value in classes]).astype(np.float16) * 0.8
                stores["cam"].put(identifier, classes=classes, scores=scores, background=1 - scores.max(axis=0))
                stores["mask"].put(identifier, label=worse)
                stores["mask_crf"].put(identifier, label=np.where(label == 255, 0, label).astype(np.uint8))
            else:
                scores = np.stack([worse[::2, ::2] == value for value in range(4)]).astype(np.float16)
                stores["prediction"].put(identifier, scores=scores)
    for artifact in opened.values():
        artifact.__exit__(None, None, None)
    write_index(str(root / "index.h5"), "toy", CLASSES, entries, ids)
    rows = [{"id": name, "maps": 0.5, "mask": doubt_of(number)} for number, name in enumerate(ids["train"])]
    write_table(str(root / "doubt.csv"), rows)
    (root / "threshold.json").write_text(json.dumps({"threshold": 0.3}))


def gallery_job(root: Path, out: Path, **settings) -> Job:
    """The job of the gallery of that data set."""
    usual = {"dataset": "toy", "splits": ["train", "validation"], "images": None, "side": 500, "threshold": 0.2}
    columns = [SimpleNamespace(**column) for column in COLUMNS]
    inputs = {name: str(root / f"{name}.h5") for name in ("index", "images", "truth")}
    inputs |= {
        "artifacts": [str(root / name) for name in ARTIFACTS],
        "thresholds": [str(root / "threshold.json")],
        "doubts": [str(root / "doubt.csv")],
    }
    outputs = SimpleNamespace(page=str(out / "index.html"), listing=str(out / "files.sha256"))
    about = SimpleNamespace(columns=columns, **usual | settings)
    return Job(about, SimpleNamespace(**inputs), outputs, 1, "")


def write_gallery(root: Path, out: Path, **settings) -> Path:
    """Write it and give its page."""
    gallery.main(gallery_job(root, out, **settings))
    return out / "index.html"
