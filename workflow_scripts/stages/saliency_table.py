"""A table of saliency maps: each detector's, and what the classifiers that learnt from it make of them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.artifacts import replaced
from workflow_scripts.command import Job, run

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
            entry[measure] = f"{values.mean():.4f}"
            entry[f"{measure}_std"] = f"{values.std(ddof=1):.4f}" if len(values) > 1 else None
        rows.append(entry)
    with replaced(job.outputs.saliency) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")


if __name__ == "__main__":
    run(main, lists=("scores",), outputs=("saliency",))
