"""A table of saliency maps: each detector's, and what the classifiers that learnt from it make of them."""

import json
from pathlib import Path

import numpy as np

from workflow_scripts.run.command import Job, run
from workflow_scripts.store.csv_files import mean_and_spread, write_table

MEASURES = ("foreground_iou", "mean_absolute_error", "max_f_measure")


def main(job: Job) -> None:
    scores, rows = iter(job.inputs.scores), []
    for row in job.settings.rows:
        splits = [json.loads(Path(next(scores)).read_text())["splits"] for _ in row.scores]
        (split,) = splits[0]
        entry = {"map": row.map, "name": row.name, "detector": row.detector, "seeds": len(splits), "split": split}
        entry["images"] = splits[0][split]["images"]
        for measure in MEASURES:
            values = np.array([found[split][measure] for found in splits])
            entry |= mean_and_spread(measure, values, digits=4)
        rows.append(entry)
    write_table(job.outputs.saliency, rows)


if __name__ == "__main__":
    run(main, lists=("scores",), outputs=("saliency",))
