"""A table of the boundaries of the systems' masks: recall, precision and F1 at every tolerance, percent."""

import json
from pathlib import Path

import numpy as np

from workflow_scripts.evaluation.boundary import precision_recall_f1
from workflow_scripts.run.command import Job, run
from workflow_scripts.store.csv_files import mean_and_spread, write_table


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
                entry |= mean_and_spread(name, values[:, place])
            rows.append(entry)
    write_table(job.outputs.table, rows)


if __name__ == "__main__":
    run(main, lists=("scores",), outputs=("table",))
