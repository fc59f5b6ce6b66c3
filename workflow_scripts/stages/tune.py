"""Gather the scores of a tuning: a table of all points of the grid, and a picture. Nothing is applied to any block."""

import json
from pathlib import Path

import numpy as np

from workflow_scripts.base.errors import UserError
from workflow_scripts.data.index import Index, read_index
from workflow_scripts.evaluation.miou import mean_intersection_over_union
from workflow_scripts.look.grid_plots import grid_picture
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import write
from workflow_scripts.store.csv_files import mean_and_spread, write_table


def main(job: Job) -> None:
    settings = job.settings
    _check_held_out(read_index(job.inputs.index, settings.dataset), settings)
    scores = iter(job.inputs.scores)
    found = [[_score(next(scores), settings.split) for _ in settings.seeds] for _ in settings.points]
    mious = 100 * np.array([[miou for miou, _ in seeds] for seeds in found])
    images = found[0][0][1]
    best = int(mious.mean(axis=1).argmax())
    rows = []
    for number, point in enumerate(settings.points):
        values = dict(zip(settings.keys, point.values, strict=True))
        for seed, miou in zip(settings.seeds, mious[number], strict=True):
            rows.append(values | {"seed": seed, "split": settings.split, "images": images, "miou": f"{miou:.2f}"})
        marks = {"best": "best" if number == best else None, "configured": "yes" if point.configured else None}
        mean = {"seed": "mean", "split": settings.split, "images": images}
        rows.append(values | mean | mean_and_spread("miou", mious[number]) | marks)
    columns = [*settings.keys, "seed", "split", "images", "miou", "miou_std", "best", "configured"]
    write_table(job.outputs.table, rows, columns)
    title = f"{settings.tuning}: mIoU on {images} images of split {settings.split} of {settings.dataset}"
    points = [tuple(point.values) for point in settings.points]
    configured = [point.configured for point in settings.points]
    write(job.outputs.picture, grid_picture(title, settings.keys, points, mious, configured))
    chosen = ", ".join(f"{key} {value}" for key, value in zip(settings.keys, points[best], strict=True))
    print(f"best on {images} images of {settings.split}: {chosen}, mIoU {mious[best].mean():.2f} %; nothing is applied")


def _score(path: str, split: str) -> tuple[float, int]:
    """mIoU in [0, 1] and number of images."""
    record = json.loads(Path(path).read_text())["splits"][split]
    return mean_intersection_over_union(np.array(record["confusion"])), record["images"]


def _check_held_out(index: Index, settings) -> None:
    """Refuse images on which results are reported: lists of ids may share some whatever the splits are called."""
    chosen = set(index.split(settings.split))
    for reported in settings.reported:
        if shared := sorted(chosen & set(index.split(reported))):
            raise UserError(
                f"config: tunings.{settings.tuning}.split: {settings.split!r} shares {len(shared)} images with {reported!r}, on "
                f"which results are reported, {shared[0]!r} among them; name a held-out split, or set allow_scored: true"
            )


if __name__ == "__main__":
    run(main, inputs=("index",), lists=("scores",), outputs=("table", "picture"))
