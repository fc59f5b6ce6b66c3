"""How much of each box its object fills, in the masks that were made from boxes (first seed) and in the truth."""

from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.base.progress import progress
from workflow_scripts.data.index import read_index
from workflow_scripts.evaluation.filling_rate import VOID, filling_rates
from workflow_scripts.look.plots import violins
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.artifacts import Reader, replaced, write


def main(job: Job) -> None:
    settings = job.settings
    index = read_index(job.inputs.index, settings.dataset)
    truth = Reader(job.inputs.truth, "truth", settings.dataset)
    masks = {Path(path).stem: Reader(path, "mask", settings.dataset) for path in job.inputs.masks}
    rates: dict[str, list[np.ndarray]] = {name: [] for name in [*masks, "truth"]}
    classes: list[np.ndarray] = []
    ids = index.split(settings.split)
    for identifier in progress(ids, len(ids), "filling rates"):
        boxes, target = index.objects_of(identifier), truth.read(identifier)["label"]
        classes.append(boxes[:, 4].astype(int))
        labels = {name: reader.read(identifier)["label"] for name, reader in masks.items()} | {"truth": target}
        for name, label in labels.items():
            rates[name].append(filling_rates(label, boxes, target != VOID))
    found, label = {name: np.concatenate(values) for name, values in rates.items()}, np.concatenate(classes)
    rows = []
    for number, class_name in [*enumerate(index.classes), (None, None)]:  # last, all classes, which no name stands for
        chosen = np.ones(len(label), bool) if number is None else label == number
        for name, values in found.items():
            values = values[chosen & np.isfinite(values)]
            quartiles = np.quantile(values, (0.25, 0.5, 0.75)) if len(values) else [None] * 3
            row = {"class": class_name, "masks": name, "boxes": len(values)}
            row |= {"mean": values.mean() if len(values) else None}
            rows.append(row | dict(zip(("quarter", "median", "three_quarters"), quartiles, strict=True)))
    with replaced(job.outputs.rates) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n", float_format="%.4f")
    by_class = {
        class_name: {name: values[(label == number) & np.isfinite(values)] for name, values in found.items()}
        for number, class_name in enumerate(index.classes)
    }
    write(job.outputs.violins, violins(by_class, "share of a box that its object fills"))


if __name__ == "__main__":
    run(main, inputs=("index", "truth"), lists=("masks",), outputs=("violins", "rates"))
