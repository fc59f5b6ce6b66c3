"""A table of the boundaries of the systems' masks: recall, precision and F1 at every tolerance, percent."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.artifacts import replaced
from workflow_scripts.command import Job, run
from workflow_scripts.evaluation.boundary import precision_recall_f1


def main(job: Job) -> None:
    rows = []
    for row in job.settings.rows:
        scores = [json.loads(Path(path).read_text(encoding="utf-8")) for path in row.scores]
        for tolerance in scores[0]["tolerances"]:
            counts = [np.array(list(found["tolerances"][tolerance].values())) for found in scores]
            values = 100 * np.array([precision_recall_f1(item) for item in counts])
            entry = {"system": row.system, "mask": row.mask, "split": scores[0]["split"], "images": scores[0]["images"]}
            entry |= {"seeds": len(scores), "tolerance": tolerance}  # share of the diagonal
            for place, name in ((1, "recall"), (0, "precision"), (2, "f1")):
                entry[name] = f"{values[:, place].mean():.2f}"
                entry[f"{name}_std"] = f"{values[:, place].std(ddof=1):.2f}" if len(scores) > 1 else None
            rows.append(entry)
    with replaced(job.outputs.table) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, lineterminator="\n")


if __name__ == "__main__":
    run(main, lists=("scores",), outputs=("table",))
